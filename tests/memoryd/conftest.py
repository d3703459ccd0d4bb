from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.memoryd.running import Running, running


@pytest.fixture
async def memoryd(tmp_path: Path) -> AsyncIterator[Running]:
    """An empty store behind both APIs, words only."""
    async with running(tmp_path) as daemon:
        yield daemon


@pytest.fixture
async def three(memoryd: Running) -> Running:
    """The three documents of ferricula's search golden, ids 1 to 3, without vectors."""
    for number, text in enumerate(("weber bracket newton", "weber force law", "quantum wave"), start=1):
        body = {"id": number, "tags": {"channel": "hearing", "text": text}}
        assert (await memoryd.text("POST", "/remember", body)).startswith(f"remembered id={number} ")
    return memoryd


@pytest.fixture
async def vectored(memoryd: Running) -> Running:
    """Memory 1 with the vector [1, 0, 0]."""
    body = {
        "id": 1,
        "tags": {"channel": "hearing", "text": "weber bracket newton"},
        "vector": [1, 0, 0],
        "decay_alpha": 0.01,
    }
    assert await memoryd.text("POST", "/remember", body) == "remembered id=1 terms=4 indexed"
    return memoryd
