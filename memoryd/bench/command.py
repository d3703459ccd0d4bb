"""`memoryd bench`: latency of a whole daemon; `retrieval`: quality of what it finds; `repeats`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from services.errors import ConfigurationError


def main(argv: Sequence[str]) -> int:
    """Runs one benchmark and prints its figures. Raises ConfigurationError for what it cannot use."""
    if argv and argv[0] == "retrieval":
        return _retrieval(argv[1:])
    if argv and argv[0] == "repeats":
        return _repeats(argv[1:])
    return _latency(argv)


def _retrieval(argv: Sequence[str]) -> int:
    from memoryd.bench import question_sets
    from memoryd.bench import retrieval as bench_retrieval

    parser = argparse.ArgumentParser("memoryd bench retrieval", description=bench_retrieval.__doc__)
    parser.add_argument("--embedder", default="static", help="static, minilm, none or a service's URL")
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic notebook and the resampling")
    parser.add_argument("--notes", type=int, default=5000)
    parser.add_argument("--per-cell", type=int, default=200, help="questions of each kind")
    parser.add_argument("--results", type=Path, help="results.tsv of a session instead")
    parser.add_argument(
        "--external",
        type=Path,
        help="JSONL of any set instead: documents and questions, see docs/retrieval.md",
    )
    parser.add_argument("--documents", type=Path, help="the same in two files: the documents")
    parser.add_argument("--questions", type=Path, help="and the questions")
    parser.add_argument("--ledger", type=Path, help="file that gets the report as one line of JSON")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(list(argv))
    if given.notes < 1000 or given.per_cell < 1:
        raise ConfigurationError("--notes: at least 1000, and --per-cell: at least 1")
    if given.ledger is not None:
        try:
            given.ledger.touch()
        except OSError as error:
            raise ConfigurationError(f"--ledger: cannot write {given.ledger}: {error.strerror}") from error
    if (given.documents is None) != (given.questions is None):
        raise ConfigurationError("--documents and --questions belong together")
    if sum(one is not None for one in (given.results, given.documents, given.external)) > 1:
        raise ConfigurationError("--results, --external and --documents: give one of them")
    if given.results is not None:
        chosen = question_sets.results_set(given.results)
    elif given.external is not None:
        chosen = question_sets.external_set((("--external", given.external),))
    elif given.documents is not None:
        chosen = question_sets.external_set(
            (("--documents", given.documents), ("--questions", given.questions))
        )
    else:
        chosen = question_sets.synthetic_set(given.seed, given.notes, given.per_cell)
    report = bench_retrieval.run(chosen, given.embedder, given.seed)
    line = json.dumps(report)
    if given.ledger is not None:
        with given.ledger.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    sys.stdout.write((line if given.json else bench_retrieval.table(report)) + "\n")
    return 0


def _repeats(argv: Sequence[str]) -> int:
    from memoryd.bench import repeats

    parser = argparse.ArgumentParser("memoryd bench repeats", description=repeats.__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the experiments and how they are tried again")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args(list(argv))
    figures = repeats.measure(given.seed)
    sys.stdout.write((json.dumps(figures) if given.json else "\n".join(repeats.lines(figures))) + "\n")
    return 0


def _latency(argv: Sequence[str]) -> int:
    from memoryd.bench import latency as bench_latency

    parser = argparse.ArgumentParser("memoryd bench", description=bench_latency.__doc__)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--embedder", default="static")
    parser.add_argument("--requests", type=int, default=200, help="of each kind")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args(list(argv))
    if given.memories < 1000 or given.requests < 10:
        raise ConfigurationError("--memories: at least 1000, and --requests: at least 10")
    report = bench_latency.run(given.memories, given.requests, given.embedder)
    sys.stdout.write((json.dumps(report) if given.json else bench_latency.table(report)) + "\n")
    return 0
