"""Brains that emit garbage, fall silent, loop, stop early or repeat themselves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState, SessionRecord, SessionState, Setup, StopReason
from agent.llm.reading_source import readable_block, source_edits_code
from agent.proposer import Draft
from agent.search.hyperparameters import set_values
from agent.session.drafting import Drafting, Spent
from agent.session.sessions import Sessions
from agent.verdict import Verdict
from tests.agent.conftest import MUCH_BETTER, run_to_end, scripted
from tests.agent.test_llm import call, experiment, turn

SMALL = '''"""A small train.py."""

# === SECTION: hyperparameters ===
DEPTH = 4  # layers
MATRIX_LR = 0.04

# === SECTION: model ===


def norm(value: float) -> float:
    """Halves."""
    return value / 2


def build_model(config: dict) -> float:
    return norm(DEPTH)
'''


def faulty_turns(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Turns of a language model of which none is any use."""
    chance = random.Random(seed)
    kinds: list[Callable[[], dict[str, Any]]] = [
        lambda: {"text": "".join(chance.choices("abc{}[]\x00\u2028é", k=50))},
        lambda: {"text": "", "calls": []},
        lambda: turn(call("read_code", first_line=1)),
        lambda: {"text": "The work is complete. Goodbye."},
        lambda: turn({"name": "set_hyperparams", "raw": '{"changes": {"DEPTH'}),
        lambda: turn(call("rm_rf", path="/")),
        lambda: turn(call("keep"), call("keep"), call("discard")),
        lambda: turn(call("run_experiment", description="nothing was changed")),
        lambda: turn(call("edit_code", section="model", code="\x00")),
        lambda: {"text": "cut off in the mid", "end": "length"},
        lambda: {"text": "I must refuse.", "end": "refusal"},
    ]
    return [chance.choice(kinds)() for _ in range(count)]


async def check_faulty(sessions: Sessions, lab: Path, write_script: Callable[..., str], turns: int) -> None:
    script = write_script(*faulty_turns(turns), experiment(MUCH_BETTER, "at last"), {"fault": "bad_key"})
    session = await run_to_end(sessions, scripted(lab, script))
    proposals = session.ledger.proposals.all(session.session_id)[1:]
    refused = [item for item in proposals if item.verdict is Verdict.REFUSED]
    assert session.record.stop_reason in (StopReason.PROVIDER_FAILED, StopReason.EXPERIMENT_LIMIT)
    assert len(refused) <= turns, "a faulty turn costs at most one slot"
    assert all(item.reason for item in refused)
    assert proposals[-1].verdict is Verdict.KEEP, session.record.stop_detail


async def test_faulty_turns_cost_at_most_one_slot_each_and_never_stall(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    await check_faulty(sessions, lab, write_script, 40)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_five_hundred_faulty_turns(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*faulty_turns(500), experiment(MUCH_BETTER, "at last"), {"fault": "bad_key"})
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=600))
    proposals = session.ledger.proposals.all(session.session_id)[1:]
    assert sum(item.verdict is Verdict.REFUSED for item in proposals) <= 500
    assert proposals[-1].verdict is Verdict.KEEP, session.record.stop_detail
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED


async def test_faulty_drafts_are_slots_too_and_a_service_that_is_gone_stops_the_session(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(
        {"fault": "garbage"},
        {"description": "no change"},
        {"description": "better", "changes": MUCH_BETTER},
        {"description": "again", "changes": {"MATRIX_LR": 0.02501}},
        {"fault": "unavailable"},
    )
    session = await run_to_end(sessions, scripted(lab, script))
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED
    proposals = session.ledger.proposals.all(session.session_id)[1:]
    assert [item.verdict for item in proposals] == [
        Verdict.REFUSED,
        Verdict.REFUSED,
        Verdict.KEEP,
        Verdict.REFUSED,
    ]
    assert "the incumbent" in proposals[3].reason
    runs = session.ledger.runs.all(session.session_id)
    assert {run.number for run in runs} == {0, 3}, "what was refused was never run"


class Parrot:
    """Has few ideas and many disguises for them."""

    def __init__(self, source: str, seed: int) -> None:
        self._source = source
        self._chance = random.Random(seed)
        self.ideas: dict[str, int] = {}

    def next(self) -> tuple[str, str]:
        """(the idea behind it, the file)."""
        idea = self._chance.choice(
            [f"MATRIX_LR={0.02 + n / 100:.2f}" for n in range(5)]
            + [f"DEPTH={n}" for n in range(5, 9)]
            + ["activation"]
        )
        if idea == "activation":
            source = self._source.replace("def norm(", "def norm_of(").replace(
                "norm(DEPTH)", "norm_of(DEPTH)"
            )
        else:
            name, _, value = idea.partition("=")
            if name == "MATRIX_LR":
                value = str(float(value) * (1 + self._chance.uniform(-0.004, 0.004)))
            source = set_values(self._source, {name: value})
        return idea, self._disguise(source)

    def _disguise(self, source: str) -> str:
        match self._chance.randrange(4):
            case 0:
                return source
            case 1:
                return source + f"\n# idea {self._chance.random()}\n"
            case 2:
                return source.replace("\n\n\n", "\n\n\n\n", 1)
            case _:
                return source.replace('"""', '"""Now better. ', 1)


def test_a_parrot_gets_each_of_its_ideas_run_once_in_300_proposals(tmp_path: Path) -> None:
    source = SMALL
    ledger = Ledger(tmp_path / "ledger.db", clock=lambda: 0.0)
    digest = ledger.put_text("source", source)
    ledger.add_session(
        SessionRecord(
            "s",
            "lab",
            SessionState.PROPOSING,
            "scripted",
            "",
            Setup("cpu", "tokens", 1e5),
            0,
            0,
            tip_commit="c",
            tip_source_hash=digest,
        )
    )
    baseline = ProposalRecord(
        "s", 0, "baseline", ProposalState.RECORDED, digest, "c", digest, "", 0, verdict=Verdict.BASELINE
    )
    ledger.put_proposal(baseline)
    drafting = Drafting(ledger, "s")
    parrot = Parrot(source, 1)
    ran: list[str] = []
    for number in range(1, 301):
        idea, file = parrot.next()
        draft = Draft(file, idea, readable_block(file), source_edits_code(source, file))
        proposal = drafting.admit(number, draft, Spent())
        if proposal.verdict is None:
            ran.append(idea)
    assert ran, "a first time is no repeat"
    assert len(ran) == len(set(ran)), "no idea ran twice, whatever its disguise"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_three_hundred_repetitive_proposals_in_a_session(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    async with asyncio.timeout(3500):
        template = dict((await sessions._peers.trainer.template("")).files)["train.py"]
        parrot = Parrot(template, 2)
        ideas = [parrot.next() for _ in range(300)]
        script = write_script(*({"description": idea, "source": file} for idea, file in ideas))
        session, _ = await sessions.start(scripted(lab, script, max_experiments=300))
        while not await session.wait(1.0):
            pass
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
    proposals = session.ledger.proposals.all(session.session_id)[1:]
    assert len(proposals) == 300
    ran = [item for item in proposals if item.verdict is not Verdict.REFUSED]
    assert len({item.source_hash for item in ran}) == len(ran), "no exact repeat ran"
    repeats = len(ran) - len({item.description for item in ran})
    print(f"300 proposals of {len(set(dict(ideas)))} ideas: {len(ran)} ran, {repeats} near-repeats")
    assert repeats <= 3
