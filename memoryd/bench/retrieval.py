"""`memoryd bench retrieval`: every arm on the synthetic lab notebook, a results.tsv or an external set."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memoryd.bench.arms import Arms, Document
from memoryd.bench.labnotes import Question, make_notebook
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
TOKENS_SHOWN = 10  # memories whose text counts as returned


@dataclass(frozen=True)
class Set:
    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]

    @property
    def sha256(self) -> str:
        data = [[one.memory_id, one.text] for one in self.documents]
        asked = [[one.text, sorted(one.gold)] for one in self.questions]
        return hashlib.sha256(json.dumps([data, asked]).encode()).hexdigest()


def synthetic_set(seed: int, notes: int, per_cell: int) -> Set:
    book = make_notebook(seed, notes=notes, questions_per_cell=per_cell)
    documents = tuple(Document(one.memory_id, one.text, one.created) for one in book.notes)
    return Set(f"labnotes seed {seed}", documents, book.questions)


def results_set(path: Path) -> Set:
    """results.tsv of a real session: the change is asked for, the rest of its row is the document."""
    documents, questions = [], []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--results: cannot read {path}: {error}") from error
    for number, row in enumerate(rows, start=1):
        clauses = re.split(r"[;,(:.]\s", row.get("description") or "", maxsplit=1)
        rest = " ".join(str(row.get(name) or "") for name in ("commit", "val_bpb", "status"))
        documents.append(Document(number, f"{rest} {clauses[-1]}", number))
        if len(clauses) == 2 and clauses[0].strip():
            questions.append(Question("known item", clauses[0], frozenset({number}), f"row {number}"))
    return Set(path.name, tuple(documents), tuple(questions))


def external_set(documents_path: Path, questions_path: Path) -> Set:
    """JSONL: documents {"id", "text", "created"?}; questions {"query", "gold": [], "cluster"?, "cell"?}."""
    ids: dict[str, int] = {}
    documents = []
    for number, row in enumerate(_read_lines(documents_path, "--documents"), start=1):
        ids[str(row["id"])] = number
        documents.append(Document(number, str(row["text"]), int(str(row.get("created", number)))))
    questions = []
    for number, row in enumerate(_read_lines(questions_path, "--questions")):
        gold = row.get("gold")
        known = frozenset(ids[str(one)] for one in gold) if isinstance(gold, list) else frozenset()
        cluster = str(row.get("cluster", number))
        questions.append(Question(str(row.get("cell", "external")), str(row["query"]), known, cluster))
    return Set(documents_path.name, tuple(documents), tuple(questions))


def _read_lines(path: Path, flag: str) -> list[dict[str, object]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"{flag}: cannot read {path} as JSON lines: {error}") from error


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
    found: dict[str, list[list[tuple[int, float]]]] = {}
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


def _decay(chosen: Set, found: dict[str, list[list[tuple[int, float]]]]) -> dict[str, float] | None:
    """Current-at-1 with and without the order of time, paired, with McNemar's exact p."""
    members = [n for n, one in enumerate(chosen.questions) if one.cell == "latest"]
    if not members:
        return None

    def right(arm: str) -> list[bool]:
        return [bool(found[arm][n]) and found[arm][n][0][0] in chosen.questions[n].gold for n in members]

    with_time, without = right("ours"), right("ours-no-decay")
    return {
        "current_at_1": _mean([float(one) for one in with_time]),
        "current_at_1_without": _mean([float(one) for one in without]),
        "mcnemar_p": mcnemar(with_time, without),
    }


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
    return "\n".join(lines)


def run(chosen: Set, embedder: str, seed: int) -> dict[str, object]:
    if not chosen.questions:
        raise ConfigurationError(f"{chosen.name}: no question can be made of it")
    return asyncio.run(measure(chosen, embedder, seed))
