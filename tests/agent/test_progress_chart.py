"""progress.png stands on paired differences: what lies below the line was better on equal seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.lab.progress_chart import NAME, ChartPoint, chart_points, draw_progress, highest_shown
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState
from agent.verdict import Verdict
from tests.agent.test_ledger import SESSION


def proposal(number: int, verdict: Verdict, score: float | None, difference: float | None) -> ProposalRecord:
    return ProposalRecord(
        "lab-1", number, "idea", ProposalState.RECORDED, "s", "p", "ps", "d", 2.0,
        verdict=verdict, val_bpb=score, difference=difference,
        difference_error=None if difference is None else 0.01,
    )  # fmt: skip


NIGHT = [
    proposal(0, Verdict.BASELINE, 2.0, None),
    proposal(1, Verdict.DISCARD, 1.9, 0.05),  # on seeds that are easier for everybody
    proposal(2, Verdict.KEEP, 2.1, -0.1),
    proposal(3, Verdict.DISCARD, 1.8, 0.02),
    proposal(4, Verdict.CRASH, None, None),
    proposal(5, Verdict.DISCARD, 9.0, 7.0),
]


def test_a_proposal_stands_beside_the_incumbent_of_its_time() -> None:
    points = chart_points(NIGHT)
    assert [(point.number, round(point.score, 9), point.kept) for point in points] == [
        (0, 2.0, True), (1, 2.05, False), (2, 1.9, True), (3, 1.92, False), (5, 8.9, False),
    ]  # fmt: skip
    assert 2.05 < highest_shown(points) < 3, "one that is far too bad does not press the others flat"
    assert highest_shown([ChartPoint(0, 2.0, 0.0, kept=True)]) >= 2.0


async def test_the_chart_is_drawn_from_the_ledger(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ledger = Ledger(tmp_path / "ledger.db", clock=lambda: 1.0)
    ledger.add_session(SESSION)
    assert not await draw_progress(ledger, "lab-1", tmp_path), "nothing was scored"
    for count, item in enumerate(NIGHT, start=1):
        ledger.put_proposal(item)
        if count in (1, len(NIGHT)):
            assert await draw_progress(ledger, "lab-1", tmp_path)
            assert (tmp_path / NAME).read_bytes().startswith(b"\x89PNG")
    ledger.close()
