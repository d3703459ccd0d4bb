"""Tools on the lab's memory: remember, recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from agent.tools.answer import NOTE, as_data, page, shorten
from agent.tools.bench import Bench


async def remember(
    bench: Bench,
    text: Annotated[
        str, Field(min_length=1, max_length=4000, description="An insight worth keeping, in full sentences.")
    ],
) -> Mapping[str, object]:
    """Store an insight in the lab's memory. Verdicts are remembered without being asked."""
    await bench.recollect(text, True, 0)
    return {"remembered": True}


async def recall(
    bench: Bench,
    query: Annotated[str, Field(min_length=1, max_length=500, description="What to look for.")],
    limit: Annotated[int, Field(ge=1, le=20)] = 5,
) -> Mapping[str, object]:
    """Search the lab's memory for similar experiments and insights, best first."""
    found = [shorten(text, 700) for text in await bench.recollect(query, False, limit)]
    count = page(found, 3400) if found else 0
    return {"note": NOTE, "memories": as_data(found[:count]), "found": len(found)}
