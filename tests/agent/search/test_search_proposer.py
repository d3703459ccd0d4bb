"""The search proposer: valid, new, deterministic ideas that learn from paired differences."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

import trainer.template
from agent.proposer import Draft, ResearchContext, Trial
from agent.search.hyperparameters import edits_code, read_block
from agent.search.idle import REST, idle_values, without_idle
from agent.search.proposer import SearchProposer, gather_experience, is_repeat
from agent.verdict import Verdict
from trainer.presets import PRESETS, apply_preset

TEMPLATE = (Path(trainer.template.__file__).parent / "train.py").read_text()
SOURCE = apply_preset(TEMPLATE, PRESETS["cpu"])


def trial_of(number: int, draft: Draft, difference: float | None, verdict: Verdict) -> Trial:
    score = None if difference is None else 2.5 + difference
    values = read_block(draft.source)
    return Trial(
        number, draft.description, draft.changes, values, verdict, score, difference, "", str(number)
    )


async def propose(seed: int, trials: list[Trial], number: int, source: str = SOURCE) -> Draft | None:
    return await SearchProposer(seed).propose(ResearchContext(source, 2.5, 0.01, trials, next_number=number))


async def play(seed: int, count: int, verdict: Verdict = Verdict.DISCARD) -> list[Draft]:
    trials: list[Trial] = []
    drafts: list[Draft] = []
    for number in range(1, count + 1):
        draft = await propose(seed, trials, number)
        assert draft is not None
        drafts.append(draft)
        difference = None if verdict is Verdict.CRASH else 0.01 * math.sin(number)
        trials.append(trial_of(number, draft, difference, verdict))
    return drafts


async def test_twenty_proposals_are_valid_and_all_different() -> None:
    drafts = await play(1, 20)
    vectors = [read_block(draft.source) for draft in drafts]
    for index, draft in enumerate(drafts):
        assert draft.changes
        assert len(draft.changes) <= 6
        assert not draft.edits_code
        assert not edits_code(SOURCE, draft.source)
        assert {name: vectors[index][name] for name in draft.changes} == draft.changes
        assert not is_repeat(vectors[index], [read_block(SOURCE), *vectors[:index]])
        assert all(name in draft.description for name in draft.changes)


async def test_the_same_history_gives_the_same_proposal_whatever_was_asked_before() -> None:
    drafts = await play(5, 6)
    trials = [trial_of(n, draft, 0.01 * math.sin(n), Verdict.DISCARD) for n, draft in enumerate(drafts, 1)]
    again = await propose(5, trials[:5], 6)
    assert again == drafts[5]
    assert await propose(6, trials[:5], 6) != again


async def test_a_proposer_that_was_taught_needs_no_history_in_the_context() -> None:
    drafts = await play(5, 4)
    trials = [trial_of(n, draft, 0.01, Verdict.DISCARD) for n, draft in enumerate(drafts, 1)]
    taught = SearchProposer(5)
    for trial in trials:
        await taught.learn(trial)
    assert await taught.propose(ResearchContext(SOURCE, 2.5, 0.01, [], next_number=5)) == await propose(
        5, trials, 5
    )
    await taught.close()


async def test_crashes_and_refusals_do_not_stop_it() -> None:
    assert len({draft.source for draft in await play(2, 10, Verdict.CRASH)}) == 10
    drafts = await play(3, 5)
    trials = [trial_of(n, draft, None, Verdict.REFUSED) for n, draft in enumerate(drafts, 1)]
    assert await propose(3, trials, 6) is not None


async def test_values_that_json_turned_into_lists_are_understood() -> None:
    draft = (await play(4, 1))[0]
    trial = trial_of(1, draft, 0.01, Verdict.DISCARD)
    listed = {k: list(v) if isinstance(v, tuple) else v for k, v in trial.hyperparameters.items()}
    assert await propose(4, [replace(trial, hyperparameters=listed)], 2) is not None


async def test_trials_of_edited_code_and_foreign_values_are_passed_over() -> None:
    odd = {"MATRIX_LR": "fast", "DEPTH": 400, "WINDOW_PATTERN": "SLSL", "GONE": 1, "ADAM_BETAS": "x"}
    trials = [
        Trial(1, "edit", {}, read_block(SOURCE), Verdict.KEEP, 2.4, -0.1, "", "a"),
        Trial(2, "odd", odd, odd, Verdict.DISCARD, 2.6, 0.1, "", "b"),
        Trial(3, "nothing known", {"DEPTH": 5}, {}, Verdict.CRASH, None, None, "", "c"),
    ]
    assert await propose(1, trials, 4) is not None


async def test_a_file_without_hyperparameters_ends_the_search() -> None:
    assert await propose(1, [], 1, source="x = 1\n") is None


def idle_trial(number: int, verdict: Verdict = Verdict.DISCARD, **changes: object) -> Trial:
    difference = 0.0 if verdict is Verdict.DISCARD else -0.01
    return Trial(number, "", changes, {}, verdict, 2.5, difference, "", str(number))


def test_what_leaves_every_score_equal_rests_until_structure_changes() -> None:
    block = read_block(SOURCE) | {"SOFTCAP": 15.0, "WARMUP_RATIO": 0.0}
    tried = idle_trial(1, WINDOW_PATTERN="SSL", WARMUP_RATIO=0.01)
    trials = [tried, idle_trial(2, ADAM_BETAS=[0.9, 0.99])]
    idle = idle_values(trials, 3)
    assert without_idle({"WARMUP_RATIO": 0.005, "SOFTCAP": 20.0}, block, idle) == {"SOFTCAP": 20.0}
    assert without_idle({"WARMUP_RATIO": 0.1}, block, idle), "further away it may do something"
    more = idle_values([*trials, idle_trial(3, WARMUP_RATIO=0.02)], 4)
    assert without_idle({"WARMUP_RATIO": 0.1}, block, more) == {}
    assert without_idle({"WINDOW_PATTERN": "SSL", "ADAM_BETAS": (0.9, 0.99)}, block, idle) == {}
    assert without_idle({"WINDOW_PATTERN": "L"}, block, idle), "only that value is equal"
    assert idle_values([*trials, idle_trial(3, Verdict.KEEP, SOFTCAP=20.0)], 4) == idle
    for kept in (
        idle_trial(3, Verdict.KEEP, DEPTH=5),
        idle_trial(3, Verdict.KEEP, HEAD_NORM=True),
        idle_trial(3, Verdict.KEEP),
    ):
        assert idle_values([*trials, kept], 4) == {}
    assert idle_values(trials, 2 + REST) == {"ADAM_BETAS": {(0.9, 0.99)}}
    assert idle_values(trials, 3 + REST) == {}


async def test_search_leaves_alone_what_was_idle() -> None:
    live = {"MATRIX_LR", "EMBEDDING_LR"}
    numbers = [name for name, value in read_block(SOURCE).items() if type(value) in (int, float)]
    first = idle_trial(1, HEAD_NORM=True, SMEAR=True)
    trials = [
        replace(first, number=value, changes={**first.changes, **dict.fromkeys(set(numbers) - live, value)})
        for value in (1, 2)
    ]
    seen: set[str] = set()
    for seed in range(8):
        draft = await propose(seed, trials, 3)
        assert draft is not None
        seen |= draft.changes.keys()
    assert seen
    assert not seen & {"HEAD_NORM", "SMEAR"}
    assert seen & set(numbers) <= live


def test_levels_are_chained_over_the_keeps() -> None:
    def trial(number: int, verdict: Verdict, difference: float | None) -> Trial:
        return Trial(number, "", {"DEPTH": number}, {"DEPTH": number}, verdict, 1.0, difference, "", "")

    past = gather_experience(
        [
            trial(1, Verdict.DISCARD, 0.5),
            trial(2, Verdict.KEEP, -0.2),
            trial(3, Verdict.DISCARD, 0.1),
            trial(4, Verdict.EQUIVALENT, 0.01),
            trial(5, Verdict.KEEP, -0.3),
            trial(6, Verdict.REFUSED, None),
        ]
    )
    assert [item.level for item in past] == pytest.approx([0.5, -0.2, -0.1, -0.19, -0.49])


def test_a_crash_counts_as_a_bad_result_and_never_as_an_absurd_one() -> None:
    trials = [
        Trial(n, "", {"DEPTH": n}, {"DEPTH": n}, Verdict.DISCARD, 1.0, 0.01 * n, "", "") for n in range(1, 11)
    ]
    crash = Trial(11, "", {"DEPTH": 64}, {"DEPTH": 64}, Verdict.CRASH, None, None, "", "")
    assert gather_experience([*trials, crash])[-1].level == pytest.approx(0.10)
    assert gather_experience([crash])[-1].level == 0.0
    nothing = replace(crash, difference=math.nan)
    assert math.isfinite(gather_experience([*trials, nothing])[-1].level)


def test_an_aspect_ratio_that_rounds_to_the_same_width_is_a_repeat() -> None:
    one = {"DEPTH": 4, "ASPECT_RATIO": 32, "HEAD_DIM": 64, "MATRIX_LR": 0.04}
    assert is_repeat(one | {"ASPECT_RATIO": 24}, [one])
    assert not is_repeat(one | {"ASPECT_RATIO": 40}, [one])
    assert is_repeat(one | {"MATRIX_LR": 0.0405}, [one])
    assert not is_repeat(one | {"MATRIX_LR": 0.05}, [one])
