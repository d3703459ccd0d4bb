"""progress.png: proposals beside the incumbent, a line. Drawn only where matplotlib is installed."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ChartPoint:
    """A proposal on the chart: `score` is where it stands beside the baseline on equal seeds."""

    number: int
    score: float
    error: float
    kept: bool


def chart_points(proposals: list[ProposalRecord]) -> list[ChartPoint]:
    """The baseline's mean, and from there on by paired differences: each from the incumbent of its time.

    Mean scores of proposals are not drawn: each has seeds of its own, which differ by more than most changes.
    """
    points: list[ChartPoint] = []
    incumbent = 0.0
    for item in proposals:
        if item.verdict is Verdict.BASELINE:
            incumbent = item.val_bpb or 0.0
            points.append(ChartPoint(item.number, incumbent, 0.0, kept=True))
        elif item.difference is not None and math.isfinite(item.difference):
            score = incumbent + item.difference
            points.append(ChartPoint(item.number, score, item.difference_error or 0.0, item.is_commit))
            incumbent = score if item.is_commit else incumbent
    return points


def highest_shown(points: list[ChartPoint]) -> float:
    """Where the chart ends: a few far too bad ones must not press all others flat."""
    scores = sorted(point.score for point in points)
    kept = [point.score for point in points if point.kept]
    room = 1.5 * (scores[len(scores) * 3 // 4] - min(scores))
    return max(*kept, min(scores) + room, min(scores) + 1e-3)


def _draw(proposals: list[ProposalRecord], path: Path) -> bool:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return False
    points = chart_points(proposals)
    if not points:
        return False
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    top = highest_shown(points)
    kept = [point for point in points if point.kept]
    others = [point for point in points if not point.kept and point.score <= top]
    beyond = [point.number for point in points if not point.kept and point.score > top]
    axes.errorbar(
        *_columns(others), fmt="o", ms=4, elinewidth=0.8, color="#a0a0a0", label="discarded, ± one error"
    )
    if beyond:
        axes.scatter(beyond, [top] * len(beyond), s=20, marker="^", c="#a0a0a0", label="worse than shown")
    if kept:
        numbers, scores, _ = _columns(kept)
        axes.step([*numbers, points[-1].number], [*scores, scores[-1]], where="post", color="#2a7f62")
        axes.errorbar(*_columns(kept), fmt="o", ms=6, elinewidth=1.2, color="#2a7f62", label="kept")
    low, high = min(point.score for point in points), top
    axes.set_ylim(low - 0.15 * (high - low) - 1e-4, high + 0.08 * (high - low) + 1e-4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("proposal")
    axes.set_ylabel("bits per byte: baseline, then paired differences")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    temporary = path.with_name(f".{path.name}.new")
    figure.savefig(temporary, format="png", dpi=110)
    os.replace(temporary, path)
    return True


def _columns(points: list[ChartPoint]) -> tuple[list[int], list[float], list[float]]:
    return (
        [point.number for point in points],
        [point.score for point in points],
        [point.error for point in points],
    )
