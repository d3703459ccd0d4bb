"""Tools that only look: get_config, read_code, get_history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from agent.ledger.records import ProposalRecord, ProposalState
from agent.search.hyperparameters import read_block
from agent.search.sections import find_section, list_sections
from agent.tools.answer import NOTE, as_data, json_size, page, shorten
from agent.tools.bench import Bench
from services.errors import InvalidArgumentError

BUDGET = 3400


async def get_config(bench: Bench) -> Mapping[str, object]:
    """Read the hyperparameters of the draft of train.py, those that differ from the incumbent, and the
    session's score and noise."""
    session = bench.session()
    values = read_block(bench.draft())
    kept = read_block(bench.incumbent())
    best = [item.val_bpb for item in bench.proposals() if item.is_commit and item.val_bpb is not None]
    baseline = [item.val_bpb for item in bench.proposals() if item.number == 0]
    file = {"draft_file": bench.place} if bench.place else {}
    return {
        **file,
        "hyperparameters": values,
        "changed_in_draft": {name: value for name, value in values.items() if kept.get(name) != value},
        "code_changed_in_draft": bench.draft() != bench.incumbent(),
        "sections": [section.name for section in list_sections(bench.draft())],
        "incumbent_val_bpb": (best or baseline or [None])[-1],
        "noise_sigma": session.noise_sigma,
        "preset": session.setup.preset,
        "budget": f"{session.setup.budget_amount:g} {session.setup.budget_kind}",
    }


async def read_code(
    bench: Bench,
    first_line: Annotated[int, Field(ge=1, description="First line, counted from 1.")] = 1,
    last_line: Annotated[int | None, Field(ge=1, description="Last line; as many as fit if absent.")] = None,
    section: Annotated[str, Field(description="Name of a section to read instead of line numbers.")] = "",
) -> Mapping[str, object]:
    """Read lines of the draft of train.py. Answers hold about 80 lines; next_line says where to go on."""
    lines = bench.draft().splitlines()
    if section:
        found = find_section(bench.draft(), section)
        if found is None:
            names = ", ".join(item.name for item in list_sections(bench.draft()))
            raise InvalidArgumentError(f"there is no section {section!r}; there are {names}", field="section")
        first_line = max(first_line, found.first_line)
        last_line = min(last_line or found.last_line, found.last_line)
    if first_line > len(lines):
        raise InvalidArgumentError(
            f"first_line: train.py has {len(lines)} lines, not {first_line}", field="first_line"
        )
    last = min(last_line or len(lines), len(lines))
    if last < first_line:
        raise InvalidArgumentError(
            f"last_line: {last} stands before first_line {first_line}", field="last_line"
        )
    taken: list[str] = []
    used = 0
    for line in lines[first_line - 1 : last]:
        line = shorten(line, 1000)
        used += json_size(line)
        if used > BUDGET and taken:
            break
        taken.append(line)
    end = first_line + len(taken) - 1
    return {
        "first_line": first_line,
        "last_line": end,
        "next_line": end + 1 if end < last else None,
        "total_lines": len(lines),
        **as_data("\n".join(taken)),
    }


async def get_history(
    bench: Bench,
    before: Annotated[
        int | None, Field(ge=1, description="Only proposals with a smaller number: for the next page.")
    ] = None,
) -> Mapping[str, object]:
    """Read the experiment log, newest first: verdict, score, paired difference to the incumbent, reason."""
    rows = [
        _row(item)
        for item in reversed(bench.proposals())
        if item.state is ProposalState.RECORDED and (before is None or item.number < before)
    ]
    count = page(rows, BUDGET) if rows else 0
    taken = rows[:count]
    return {
        "note": NOTE,
        "experiments": as_data(taken),
        "next_before": taken[-1]["number"] if count < len(rows) else None,
    }


def _row(item: ProposalRecord) -> dict[str, object]:
    row: dict[str, object] = {
        "number": item.number,
        "verdict": item.verdict.value if item.verdict else "",
        "description": shorten(item.description, 200),
        "reason": shorten(item.reason, 200),
    }
    if item.val_bpb is not None:
        row["val_bpb"] = round(item.val_bpb, 6)
    if item.difference is not None:
        row["difference"] = round(item.difference, 6)
    if item.changes:
        row["changes"] = shorten(", ".join(f"{k}={v}" for k, v in item.changes.items()), 300)
    return row
