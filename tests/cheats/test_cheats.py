"""Every cheat is refused with its reason, and every honest candidate is scored, in every tier at hand."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from tests.cheats.candidates import Candidate, outcome_of, read_candidates
from tests.cheats.conftest import Laboratories
from tests.cheats.laboratory import BASELINE, CANARY

TIERS = ("bubblewrap", "landlock")
CHEATS, HONEST = read_candidates("cheats"), read_candidates("honest")
# Run by `make test` as well; the others take minutes and run with the long tests.
QUICK = {"read_validation_beside", "read_origin_file", "network_loopback", "write_everywhere", "fork_bomb",
         "environment_keys", "flood_output", "future_roll", BASELINE}  # fmt: skip
# Asked of every candidate; a budget by tokens has one audit more.
AUDITED = {"work-before-start", "work-after-end", "steps", "work", "training-rows", "finite", "shape",
           "fresh", "causality",
           "prefix", "fewer-rows", "fewer-again"}  # fmt: skip


def _param(candidate: Candidate, tier: str, number: int) -> Any:
    """What is stopped by the sandbox is tried in each tier. What trains meets the same evaluator in both:
    the long tests take the tiers in turn, the nightly run takes the other one as well."""
    if candidate.needs_template and tier != TIERS[number % 2]:
        marks = [pytest.mark.nightly]
    else:
        marks = [] if candidate.name in QUICK else [pytest.mark.long]
    marks.append(pytest.mark.timeout(900))
    return pytest.param(candidate, tier, id=f"{candidate.name}-{tier}", marks=marks)


CHEAT_PARAMS = [_param(one, tier, number) for tier in TIERS for number, one in enumerate(CHEATS)]
HONEST_PARAMS = [_param(one, tier, number) for tier in TIERS for number, one in enumerate(HONEST)]


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CHEATS) >= 25
    assert len(HONEST) >= 30


@pytest.mark.parametrize(("candidate", "tier"), CHEAT_PARAMS)
def cheat(candidate: Candidate, tier: str, laboratories: Laboratories) -> None:
    laboratory = laboratories.of(tier)
    experiment = laboratory.result(candidate.name)
    result, expected = experiment.result, candidate.expected
    said = f"{pb.FailureReason.Name(result.failure_reason)}: {result.failure_message}"
    assert outcome_of(experiment)[: len(expected)] == expected, said
    assert experiment.sandbox_tier == pb.SandboxTier.Value(f"SANDBOX_TIER_{laboratory.tier.upper()}")
    assert laboratory.outside.read_text() == "untouched"
    assert CANARY not in laboratory.log(candidate.name) + said
    assert not any(
        laboratory.mark in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])
    )
    assert laboratory.process.poll() is None
    assert "\x1b" not in "".join(result.log_tail)
    if expected == ["SUCCEEDED"]:
        baseline = laboratory.result(BASELINE).result.val_bpb
        if candidate.head.get("scores") == "worse":
            assert result.val_bpb > baseline
        else:
            assert result.val_bpb == pytest.approx(baseline, abs=1e-6)
    else:
        assert not result.HasField("val_bpb")
    if "claims" in candidate.head:
        assert result.claimed_val_bpb == float(candidate.head["claims"])


@pytest.mark.parametrize(("candidate", "tier"), HONEST_PARAMS)
def honest(candidate: Candidate, tier: str, laboratories: Laboratories) -> None:
    laboratory = laboratories.of(tier)
    experiment = laboratory.result(candidate.name)
    result = experiment.result
    said = f"{pb.FailureReason.Name(result.failure_reason)}: {result.failure_message}"
    assert experiment.state == pb.EXPERIMENT_STATE_SUCCEEDED, said
    assert 0.5 < result.val_bpb < 10
    assert result.validation_hidden
    assert all(audit.passed for audit in result.evaluation.audits)
    assert {audit.name for audit in result.evaluation.audits} >= AUDITED
