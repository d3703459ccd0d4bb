"""results.tsv in the seed's format: an export of the ledger, and a reader for such files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.ledger.records import ProposalRecord, ProposalState
from agent.verdict import Verdict
from services.errors import InvalidArgumentError

NAME = "results.tsv"
COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
_STATUS = {
    Verdict.KEEP: "keep",
    Verdict.EQUIVALENT: "keep",
    Verdict.BASELINE: "keep",
    Verdict.CRASH: "crash",
}


@dataclass(frozen=True)
class ResultRow:
    """One line: short hash, bits per byte (0 for a crash), 10^9 bytes, keep|discard|crash, one line."""

    commit: str
    val_bpb: float
    memory_gb: float
    status: str
    description: str


def result_row(proposal: ProposalRecord) -> ResultRow:
    """The row of a proposal that has its verdict; what was refused without a run is a discard."""
    status = _STATUS.get(proposal.verdict or Verdict.DISCARD, "discard")
    description = proposal.description
    if proposal.verdict in (Verdict.CRASH, Verdict.REFUSED):
        description = f"{description} ({proposal.reason})"
    elif proposal.verdict is Verdict.EQUIVALENT:
        description = f"{description} (equivalent, simpler)"
    score = proposal.val_bpb if status != "crash" else None
    return ResultRow(
        commit=(proposal.commit or proposal.parent_commit)[:7],
        val_bpb=score or 0.0,
        memory_gb=proposal.memory_gb if status != "crash" else 0.0,
        status=status,
        description=one_line(description),
    )


def write_results(path: Path, proposals: Iterable[ProposalRecord]) -> None:
    """Replaces the file as a whole; readers never see half of it. Proposals under way are left out."""
    lines = ["\t".join(COLUMNS)]
    for proposal in proposals:
        if proposal.state is ProposalState.RECORDED:
            row = result_row(proposal)
            lines.append(
                f"{row.commit}\t{row.val_bpb:.6f}\t{row.memory_gb:.1f}\t{row.status}\t{row.description}"
            )
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def read_results(text: str) -> list[ResultRow]:
    """Rows of a results.tsv, ours or the seed's. Raises InvalidArgumentError that names the line."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or (number == 1 and line.split("\t")[0] == "commit"):
            continue
        cells = line.split("\t")
        if len(cells) != len(COLUMNS):
            raise InvalidArgumentError(
                f"{NAME} line {number} has {len(cells)} columns and not {len(COLUMNS)}: {line[:80]!r}",
                field=NAME,
            )
        try:
            rows.append(ResultRow(cells[0], float(cells[1]), float(cells[2]), cells[3], cells[4]))
        except ValueError as error:
            raise InvalidArgumentError(f"{NAME} line {number}: {error}", field=NAME) from error
    return rows


def one_line(text: str, limit: int = 300) -> str:
    """The text without tabs, line ends and control characters, shortened to `limit` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
