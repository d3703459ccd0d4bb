"""progress.png: scores over proposals, the incumbent as a line. Drawn only where matplotlib is installed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState
from agent.verdict import Verdict

NAME = "progress.png"


async def draw_progress(ledger: Ledger, session_id: str, lab: Path) -> bool:
    """Draws the chart in a thread; False without matplotlib or without scores."""
    proposals = [
        item
        for item in ledger.proposals.all(session_id)
        if item.state is ProposalState.RECORDED and item.val_bpb is not None
    ]
    if not proposals:
        return False
    return await asyncio.to_thread(_draw, proposals, lab / NAME)


def _draw(proposals: list[ProposalRecord], path: Path) -> bool:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kept = [item for item in proposals if item.is_commit or item.verdict is Verdict.BASELINE]
    others = [item for item in proposals if item not in kept]
    axes.scatter(*_points(others), s=14, c="#b0b0b0", label="discarded")
    numbers, scores = _points(kept)
    if kept:
        axes.step([*numbers, proposals[-1].number], [*scores, scores[-1]], where="post", color="#2a7f62")
    axes.scatter(numbers, scores, s=28, c="#2a7f62", label="kept")
    axes.set_xlabel("proposal")
    axes.set_ylabel("validation bits per byte")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    temporary = path.with_name(f".{path.name}.new")
    figure.savefig(temporary, format="png", dpi=110)
    os.replace(temporary, path)
    return True


def _points(proposals: list[ProposalRecord]) -> tuple[list[int], list[float]]:
    return [item.number for item in proposals], [item.val_bpb or 0.0 for item in proposals]
