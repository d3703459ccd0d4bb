"""Tools that act: run_experiment, keep, discard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from agent.tools.bench import Bench

LONGEST_WAIT = 3000.0


async def run_experiment(
    bench: Bench,
    description: Annotated[
        str, Field(min_length=1, max_length=300, description="What the draft tries and why, in one line.")
    ],
    wait_seconds: Annotated[
        float,
        Field(ge=0, le=LONGEST_WAIT, description="Answer after so long even if training goes on."),
    ] = LONGEST_WAIT,
) -> Mapping[str, object]:
    """Train the draft on the session's seeds, paired with the incumbent, until the judge has a verdict:
    KEEP, EQUIVALENT, DISCARD or CRASH. If the answer says running, call again to wait on."""
    return await bench.run(description, wait_seconds)


async def keep(
    bench: Bench,
    note: Annotated[str, Field(max_length=300, description="Why, for the log.")] = "",
) -> Mapping[str, object]:
    """Commit the experiment that was judged last. Refused unless the judge said KEEP or EQUIVALENT."""
    return await bench.decide(True, note)


async def discard(
    bench: Bench,
    note: Annotated[str, Field(max_length=300, description="Why, for the log.")] = "",
) -> Mapping[str, object]:
    """Give up the experiment that was judged last, or the edits of the draft, and go back to the
    incumbent. The diff stays in the ledger."""
    return await bench.decide(False, note)
