"""A recall counts for every memory that it returns, however many, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from memoryd.memory import Batch, Memory, Record, Row
from memoryd.recalling import STRENGTHENED_AT_ONCE
from memoryd.sqlite.backend import open_sqlite
from tests.memoryd.running import Running, running

EVERYTHING = "SELECT id FROM docs WHERE channel = 'hearing'"


async def counts(memoryd: Running) -> list[int]:
    return [memory.recall_count for memory in (await memoryd.rpc.list_memories()).memories]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"query": EVERYTHING}, [1, 1, 1]),
        ({"query": f"{EVERYTHING} ORDER BY id LIMIT 2"}, [1, 1, 0]),
        ({"query": f"{EVERYTHING} ORDER BY id", "k": 1}, [1, 0, 0]),
    ],
)
async def test_sql_strengthens_what_it_returns(
    three: Running, body: dict[str, object], expected: list[int]
) -> None:
    """ferricula 0.9 counts each returned memory; without LIMIT or k that is every hit."""
    text = await three.text("POST", "/recall", body)
    assert text.count("recalls=1 ") == sum(expected)
    assert await counts(three) == expected
    await three.send("POST", "/query", EVERYTHING)
    assert await counts(three) == expected


async def test_more_than_one_batch_of_them_is_durable_before_the_answer(tmp_path: Path) -> None:
    size = STRENGTHENED_AT_ONCE + 1
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    rows = (Row(number, {"text": f"note {number}", "channel": "hearing"}) for number in range(1, size + 1))
    await backend.apply(Batch(puts=tuple(Memory(row, Record(1, 1)) for row in rows)))
    await backend.close()
    async with running(tmp_path) as memoryd:
        text = await memoryd.text("POST", "/recall", {"query": EVERYTHING})
        assert text.count("recalls=1 ") == size
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    events = [event for event in await backend.read_events(0, 100) if event.kind == "recalled"]
    assert [len(event.memory_ids) for event in events] == [STRENGTHENED_AT_ONCE, 1]
    assert {memory.record.recall_count for memory in await backend.scan(-1, size)} == {1}
    await backend.close()
