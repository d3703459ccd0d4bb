"""The shipped surrogate and the comparison of search with random search on it."""

import contextlib
import json
import statistics
from collections.abc import Mapping

import pytest

from agent.proposer import ResearchContext
from agent.search.bench import compare, main, source_of
from agent.search.dimensions import plain_values
from agent.search.hyperparameters import read_block
from agent.search.simulated_model import SimulatedModel
from agent.search.surrogate import RECORDED, load_surrogate
from services.errors import InvalidArgumentError


def test_the_recorded_runs_are_real_enough_to_fit() -> None:
    stored = json.loads(RECORDED.read_text())
    assert len(stored["runs"]) >= 60
    assert len({run["seed"] for run in stored["runs"] if not run["changes"]}) >= 5
    assert all(1.5 < run["val_bpb"] < 4 for run in stored["runs"] if run["val_bpb"] is not None)


def test_the_surrogate_is_zero_at_the_baseline_and_follows_the_recorded_runs() -> None:
    surrogate, stored = load_surrogate(), json.loads(RECORDED.read_text())
    assert surrogate.difference(surrogate.baseline) == 0.0
    scores = {run["seed"]: run["val_bpb"] for run in stored["runs"] if not run["changes"]}
    runs = [run for run in stored["runs"] if run["changes"] and run["val_bpb"] is not None]
    measured = [run["val_bpb"] - scores[run["seed"]] for run in runs]
    fitted = [surrogate.difference(surrogate.baseline | plain_values(run["changes"])) for run in runs]
    assert statistics.correlation(measured, fitted) > 0.95


def test_no_configuration_of_the_surrogate_beats_its_optimum() -> None:
    surrogate = load_surrogate()
    best = surrogate.optimum()
    assert -0.25 < best < 0
    for dimension in surrogate.dimensions:
        for value in dimension.choices or [dimension.from_unit(i / 10) for i in range(11)]:
            assert surrogate.difference(surrogate.baseline | {dimension.name: value}) >= best


def test_the_baseline_can_be_written_as_a_file_and_read_back() -> None:
    surrogate = load_surrogate()
    assert read_block(source_of(surrogate.baseline)) == surrogate.baseline


async def test_two_runs_of_the_comparison_agree() -> None:
    surrogate = load_surrogate()
    assert await compare(surrogate, 2, 6) == await compare(surrogate, 2, 6)


async def test_the_simulated_model_is_seeded_wrong_at_times_and_more_often_right_with_skill() -> None:
    surrogate = load_surrogate()
    source = source_of(surrogate.baseline)

    async def effects(skill: float) -> list[float]:
        found = []
        for number in range(1, 61):
            context = ResearchContext(source, 0.0, 0.01, [], next_number=number)
            with contextlib.suppress(InvalidArgumentError):
                draft = await SimulatedModel(1, surrogate, skill).propose(context)
                if draft is not None:
                    found.append(surrogate.difference(read_block(draft.source)))
        return found

    assert await effects(0.6) == await effects(0.6)
    knowing, guessing = await effects(1.0), await effects(0.5)
    assert 40 < len(guessing) < 60, "some answers are of no use"
    assert statistics.fmean(value < 0 for value in knowing) > statistics.fmean(
        value < 0 for value in guessing
    )
    assert any(value > 0.01 for value in guessing)


@pytest.mark.long
async def test_search_beats_random_search_over_twenty_paired_seeds_and_a_model_does_it_no_harm() -> None:
    """No harm: hybrid's interval holds zero, and ends far from what random search loses."""
    figures = await compare(load_surrogate(), 20, 40)
    paired: Mapping[str, Mapping[str, float]] = figures["search_minus"]  # type: ignore[assignment]
    for arm in ("random", "random_near"):
        assert paired[arm]["high"] < 0
    assert paired["hybrid"]["low"] > -0.02
    assert paired["hybrid"]["high"] > 0


def test_it_prints_a_table_and_refuses_wrong_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--trials", "2"]) == 0
    assert "search minus random:" in capsys.readouterr().out
    assert main(["--seeds", "2", "--trials", "2", "--arms", "search,hybrid"]) == 0
    printed = capsys.readouterr().out
    assert "simulated" in printed
    assert "random" not in printed
    for flag, value in (("--seeds", "1"), ("--arms", "search,oracle"), ("--model-skill", "2")):
        with pytest.raises(SystemExit):
            main([flag, value])
        assert flag in capsys.readouterr().err
