"""One test for each defect of the agent this one descends from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from agent.ledger.records import RunKind, StopReason
from agent.session.session import Session
from agent.session.sessions import Sessions
from agent.verdict import Verdict
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE, call, run_to_end, scripted


async def test_set_hyperparams_parses_values_and_touches_only_the_block(by_hand: Session) -> None:
    """There: any string, unparsed, over the whole file, and only on lines with a trailing comment."""
    before = (by_hand.lab / "train.py").read_text()
    values: list[object] = ["__import__('os').system('true')", "0.04; import os", "deep", [], {"a": 1}]
    for value in values:
        _, refused = await call(by_hand, "set_hyperparams", changes={"DEPTH": value})
        assert refused, value
    changes = {"TOTAL_BATCH_SIZE": "2**12", "MATRIX_LR": 0.03, "HEAD_DIM": 32}
    _, refused = await call(by_hand, "set_hyperparams", changes=changes)
    assert not refused
    draft = (by_hand.lab / ".autoresearch" / "draft" / "train.py").read_text()
    changed = [
        (old, new) for old, new in zip(before.splitlines(), draft.splitlines(), strict=True) if old != new
    ]
    assert {new.split(" =")[0] for _, new in changed} == set(changes)
    with_comment = [pair for pair in changed if "#" in pair[0]]
    assert 0 < len(with_comment) < len(changed), "lines with and without a trailing comment"
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in with_comment)
    assert (by_hand.lab / "train.py").read_text() == before, "the incumbent's file is not the draft"


async def test_keep_needs_a_run_and_the_judges_consent(by_hand: Session) -> None:
    """There: keep never checked that a run happened, or that it improved anything."""
    answer, refused = await call(by_hand, "keep")
    assert refused
    assert "run_experiment" in str(answer["message"])
    await call(by_hand, "set_hyperparams", changes=MUCH_WORSE)
    _, refused = await call(by_hand, "keep")
    assert refused, "the draft was edited but not run"
    await call(by_hand, "run_experiment", description="worse")
    _, refused = await call(by_hand, "keep")
    assert refused
    assert git(by_hand.lab, "rev-list", "--count", "HEAD") == "1"


async def test_a_keep_whose_commit_fails_is_not_recorded_as_kept(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    """There: a failed commit was logged as kept all the same."""
    script = write_script({"description": "better", "changes": MUCH_BETTER})
    session, _ = await sessions.start(scripted(lab, script))
    (lab / "train.py").write_text("# the owner works here\n")
    await session.wait(60)
    assert session.record.stop_reason is StopReason.LAB_FAILED
    assert "not committed" in session.record.stop_detail
    rows = (lab / "results.tsv").read_text().splitlines()
    assert len(rows) == 2, "header and baseline only"
    assert (lab / "train.py").read_text() == "# the owner works here\n"
    git(lab, "checkout", "--", "train.py")
    session = await run_to_end(sessions, scripted(lab, script))
    proposal = session.ledger.proposals.all(session.session_id)[1]
    assert proposal.verdict is Verdict.KEEP
    assert git(lab, "rev-parse", "HEAD") == proposal.commit
    candidate = [run for run in session.ledger.runs.all(session.session_id) if run.number == 1]
    assert len({(run.kind, run.position) for run in candidate}) == len(candidate), "nothing was run again"


async def test_every_seed_is_stored_with_where_it_came_from(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    """There: the seed was printed and lost."""
    session = await run_to_end(
        sessions, scripted(lab, write_script({"description": "worse", "changes": MUCH_WORSE}))
    )
    runs = session.ledger.runs.all(session.session_id)
    seeds = {run.seed_index: session.ledger.runs.seed(session.session_id, run.seed_index) for run in runs}
    assert all(seed is not None and seed.source == "os" for seed in seeds.values())
    for run in runs:
        seed = seeds[run.seed_index]
        assert seed is not None
        assert run.seed == seed.value
    pairs = {run.seed for run in runs if run.number == 1 and run.kind is RunKind.CANDIDATE} - {
        run.seed for run in runs if run.kind in (RunKind.BASELINE, RunKind.INCUMBENT)
    }
    assert not pairs, "a candidate runs on the incumbent's seeds"


async def test_a_discard_leaves_its_diff_in_the_ledger(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    """There: `git reset --hard` lost it."""
    session = await run_to_end(
        sessions, scripted(lab, write_script({"description": "worse", "changes": MUCH_WORSE}))
    )
    proposal = session.ledger.proposals.all(session.session_id)[1]
    assert proposal.verdict is Verdict.DISCARD
    diff = session.ledger.text(proposal.diff_hash)
    assert "+MATRIX_LR = 0.0005" in diff
    (lab / "x.patch").write_text(diff)
    git(lab, "apply", "--check", "x.patch")


def git(lab: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(lab), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
