"""`memoryd bench retrieval`: every arm on the synthetic lab notebook, a results.tsv or an external set."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence

import numpy as np

from memoryd.bench.arms import Arms
from memoryd.bench.labnotes import Question
from memoryd.bench.question_sets import Set
from memoryd.bench.statistics import (
    clustered_interval,
    evidence_recall,
    first_rank,
    hit_at,
    mcnemar,
    percentile,
    reciprocal_rank,
)
from memoryd.embedding.embedder import open_embedder
from services.errors import ConfigurationError

BATCH = 256
SINGLE = ("recency", "fts5", "dense")
TOKENS_SHOWN = 10  # memories whose text counts as returned

Found = dict[str, list[list[tuple[int, float]]]]


async def measure(chosen: Set, embedder_name: str, seed: int) -> dict[str, object]:
    """Every arm's figures, per cell and in all. Deterministic from the set, but for the times."""
    embedder = await open_embedder(embedder_name)
    texts = [one.text for one in chosen.questions]
    try:
        vectors = None
        asked = None
        if embedder.name != "none":
            documents = [one.text for one in chosen.documents]
            parts = [
                await embedder.embed(documents[at : at + BATCH]) for at in range(0, len(documents), BATCH)
            ]
            vectors = np.concatenate(parts)
            asked = np.concatenate(
                [await embedder.embed(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
            )
    finally:
        await embedder.close()
    arms = Arms(chosen.documents, vectors, texts)
    arms.use_query_vectors(asked)
    found: Found = {}
    times: dict[str, list[float]] = {}
    for name, search in arms.search.items():
        found[name], times[name] = [], []
        for number in range(len(texts)):
            begun = time.perf_counter()
            found[name].append(search(number))
            times[name].append(1000 * (time.perf_counter() - begun))
    lengths = {one.memory_id: len(one.text.split()) for one in chosen.documents}
    report: dict[str, object] = {
        "set": chosen.name,
        "data_sha256": chosen.sha256,
        "documents": len(chosen.documents),
        "questions": len(texts),
        "embedder": embedder_name,
        "seed": seed,
        "commit": _commit(),
        "arms": {name: _figures(chosen, found[name], times[name], lengths, seed) for name in found},
    }
    report["decay"] = _decay(chosen, found)
    report["ours_minus_fts5"] = _gain(chosen, found, seed)
    report["below_best_single"] = _below_best_single(report["arms"])
    return report


def _figures(
    chosen: Set,
    found: Sequence[Sequence[tuple[int, float]]],
    times: Sequence[float],
    lengths: dict[int, int],
    seed: int,
) -> dict[str, object]:
    ids = [[memory_id for memory_id, _ in hits] for hits in found]
    answerable = [number for number, one in enumerate(chosen.questions) if one.gold]
    hits = [hit_at(ids[number], chosen.questions[number].gold, 5) for number in answerable]
    clusters = [chosen.questions[number].cluster for number in answerable]
    cells: dict[str, dict[str, float]] = {}
    for cell, members in _cells(chosen.questions).items():
        golds = [chosen.questions[number].gold for number in members]
        ranked = [ids[number] for number in members]
        cells[cell] = {
            **{
                f"hit@{depth}": _mean([hit_at(r, g, depth) for r, g in zip(ranked, golds, strict=True)])
                for depth in (1, 5, 10)
            },
            "recall@10": _mean([evidence_recall(r, g) for r, g in zip(ranked, golds, strict=True)]),
            "mrr": _mean([reciprocal_rank(r, g) for r, g in zip(ranked, golds, strict=True)]),
        }
        if cell == "latest":
            above = [_superseded_above(ids[number], chosen.questions[number]) for number in members]
            cells[cell]["superseded_above"] = _mean(above)
    low, high = clustered_interval(hits, clusters, seed=seed)
    figures: dict[str, object] = {
        "hit@5": _mean(hits),
        "hit@5_interval": [low, high],
        "cells": cells,
        "p50_ms": percentile(times, 0.5),
        "p95_ms": percentile(times, 0.95),
        "words_returned": _mean([sum(lengths[i] for i in r[:TOKENS_SHOWN]) for r in ids]),
    }
    false_recall = _false_recall(chosen, found)
    if false_recall is not None:
        figures["false_recall_at_90_true"] = false_recall
    return figures


def _cells(questions: Sequence[Question]) -> dict[str, list[int]]:
    """Numbers of the answerable questions by cell, and by part after a cell that has parts."""
    cells: dict[str, list[int]] = {}
    for number, one in enumerate(questions):
        if one.gold:
            cells.setdefault(one.cell, []).append(number)
    for number, one in enumerate(questions):
        if one.gold and one.part:
            cells.setdefault(f"{one.cell}, {one.part}", []).append(number)
    return cells


def _superseded_above(ranked: Sequence[int], question: Question) -> float:
    current = first_rank(ranked, question.gold)
    old = first_rank(ranked, question.superseded)
    return float(old > 0 and (current == 0 or old < current))


def _false_recall(chosen: Set, found: Sequence[Sequence[tuple[int, float]]]) -> float | None:
    """Share of unanswerable questions above the threshold that 90 % of the answerable ones pass.

    The threshold is set on every second answerable question and cluster, the dev half.
    """
    best = [hits[0][1] if hits else 0.0 for hits in found]
    never = [best[n] for n, one in enumerate(chosen.questions) if one.cell == "abstain"]
    known = [best[n] for n, one in enumerate(chosen.questions) if one.gold and one.cell != "temporal"]
    if not never or not known or max(best) == 0.0:
        return None
    threshold = float(np.quantile(known[::2], 0.1))
    return _mean([float(score >= threshold) for score in never[1::2]])


def _decay(chosen: Set, found: Found) -> dict[str, float] | None:
    """Current-at-1 with and without the order of time, paired, with McNemar's exact p, and what it costs.

    `hit@10_lost` is over all answerable questions.
    """
    members = [n for n, one in enumerate(chosen.questions) if one.cell == "latest"]
    if not members:
        return None

    def right(arm: str) -> list[bool]:
        return [bool(found[arm][n]) and found[arm][n][0][0] in chosen.questions[n].gold for n in members]

    def found_by(arm: str) -> float:
        return _mean(_hits(chosen, found[arm], 10))

    with_time, without = right("ours"), right("ours-no-decay")
    return {
        "current_at_1": _mean([float(one) for one in with_time]),
        "current_at_1_without": _mean([float(one) for one in without]),
        "mcnemar_p": mcnemar(with_time, without),
        "hit@10_lost": round(found_by("ours-no-decay") - found_by("ours"), 4),
    }


def _gain(chosen: Set, found: Found, seed: int) -> dict[str, float]:
    """hit@5 of ours less that of FTS5, question by question, with its 95 % interval."""
    pairs = zip(_hits(chosen, found["ours"], 5), _hits(chosen, found["fts5"], 5), strict=True)
    gains = [ours - words for ours, words in pairs]
    low, high = clustered_interval(gains, [one.cluster for one in chosen.questions if one.gold], seed=seed)
    return {"mean": _mean(gains), "low": low, "high": high}


def _below_best_single(arms: object) -> dict[str, float]:
    """Cells in which words alone, meaning alone or recency find more at 5, by more than a point."""
    assert isinstance(arms, dict)
    cells = arms["ours"]["cells"]
    lost = {
        cell: max(arms[name]["cells"][cell]["hit@5"] for name in SINGLE if name in arms)
        - cells[cell]["hit@5"]
        for cell in cells
    }
    return {cell: round(points, 4) for cell, points in lost.items() if points > 0.01}


def _hits(chosen: Set, hits: Sequence[Sequence[tuple[int, float]]], depth: int) -> list[float]:
    return [
        hit_at([memory_id for memory_id, _ in hits[n]], one.gold, depth)
        for n, one in enumerate(chosen.questions)
        if one.gold
    ]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def table(report: dict[str, object]) -> str:
    """The report as a table of hit@1/5/10 per cell and arm."""
    arms = report["arms"]
    assert isinstance(arms, dict)
    cells = list(dict.fromkeys(cell for figures in arms.values() for cell in figures["cells"]))
    lines = ["| arm | " + " | ".join(cells) + " | hit@5 (95 %) | p50/p95 ms | never tried, false |"]
    lines.append("| --- " * (len(cells) + 4) + "|")
    for name, figures in arms.items():
        shown = []
        for cell in cells:
            values = figures["cells"][cell]
            shown.append("/".join(f"{values[f'hit@{depth}']:.2f}" for depth in (1, 5, 10)))
        low, high = figures["hit@5_interval"]
        false = figures.get("false_recall_at_90_true")
        wrong = "–" if false is None else f"{false:.2f}"
        lines.append(
            f"| {name} | " + " | ".join(shown) + f" | {figures['hit@5']:.3f} ({low:.3f}–{high:.3f})"
            f" | {figures['p50_ms']:.1f}/{figures['p95_ms']:.1f} | {wrong} |"
        )
    return "\n".join([*lines, "", *_findings(report)])


def _findings(report: dict[str, object]) -> list[str]:
    gain, decay, below = report["ours_minus_fts5"], report["decay"], report["below_best_single"]
    assert isinstance(gain, dict)
    assert isinstance(below, dict)
    lines = [f"ours less FTS5 at 5: {gain['mean']:.3f} (95 %: {gain['low']:.3f} to {gain['high']:.3f})"]
    short = ", ".join(f"{cell} by {points:.3f}" for cell, points in below.items())
    lines.append(f"cells more than a point below the best single arm: {short or 'none'}")
    if isinstance(decay, dict):
        lines.append(
            f"current verdict first: {decay['current_at_1']:.3f} with newest first,"
            f" {decay['current_at_1_without']:.3f} without (McNemar p = {decay['mcnemar_p']:.1e});"
            f" it costs {decay['hit@10_lost']:.3f} of hit@10"
        )
    return lines


def run(chosen: Set, embedder: str, seed: int) -> dict[str, object]:
    if not any(one.gold for one in chosen.questions):
        raise ConfigurationError(f"{chosen.name}: no question with an answer can be made of it")
    return asyncio.run(measure(chosen, embedder, seed))
