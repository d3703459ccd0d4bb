"""What every MemoryBackend keeps to. `test_memory_backend.py` runs it whole over each implementation.

What a backend cannot do must be missing in its `capabilities`; the checks then look that the gap is as
declared, never silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from memoryd.backend import Capability, MemoryBackend
from memoryd.memory import (
    Batch,
    Edge,
    EdgeKind,
    Emotion,
    Event,
    Memory,
    Record,
    RecordUpdate,
    Row,
    State,
    pack_vector,
)
from memoryd.store_copy import ValueLister
from services.errors import (
    AlreadyExistsError,
    ConfigurationError,
    DataLossError,
    FailedPreconditionError,
    ServiceError,
    UnsupportedError,
)

NOW = 1_790_000_000


class Place(Protocol):
    """A store that can be opened again and again."""

    async def open(self, *, read_only: bool = False) -> MemoryBackend: ...

    async def change(self, *statements: str) -> bool:
        """Runs SQL on the closed store, past the backend; False where nobody can reach its tables."""


Check = Callable[[Place, Path], Awaitable[None]]


def memory(memory_id: int, text: str = "lr 0.04 helped", vector: tuple[float, ...] = (1.0, 0.5)) -> Memory:
    return Memory(Row(memory_id, {"text": text, "channel": "hearing"}, pack_vector(vector)), Record(NOW, NOW))


def visible(backend: MemoryBackend, expected: Memory) -> Memory:
    """The part of a memory that the backend says it gives back."""
    row, record = expected.row, expected.record
    if Capability.VECTORS not in backend.capabilities:
        tags = {name: value.replace("\x00", "\ufffd") for name, value in row.tags.items()}
        row = replace(row, vector=b"", tags=tags)  # over HTTP, where NUL becomes the replacement character
    if Capability.RECORDS not in backend.capabilities:
        record = replace(record, created_at=0, last_recalled=0)
    return Memory(row, record)


def plain(edge: Edge) -> Edge:
    """Only causal edges have a direction."""
    return edge if edge.kind is EdgeKind.CAUSAL else replace(edge, source=edge.pair[0], target=edge.pair[1])


async def edges_after(
    backend: MemoryBackend, pair: tuple[int, int] = (-1, -1), limit: int = 1000
) -> list[Edge]:
    return [plain(edge) for edge in await backend.scan_edges(pair, limit)]


async def everything(backend: MemoryBackend) -> list[Memory]:
    return [visible(backend, found) for found in await backend.scan(-1, 10_000)]


async def expect(backend: MemoryBackend, *memories: Memory) -> None:
    assert await everything(backend) == [visible(backend, one) for one in memories]


async def a_fresh_store_is_empty(place: Place, folder: Path) -> None:
    backend = await place.open()
    assert await backend.scan(-1, 10) == []
    assert await backend.scan_edges((-1, -1), 10) == []
    assert await backend.read_value("identity") is None
    assert await backend.read_events(0, 10) == []
    status = await backend.status()
    assert (status.row_count, status.edge_count, status.last_sequence) == (0, 0, 0)
    assert "secret" not in status.place
    assert "a-token" not in status.place
    await backend.close()


async def gives_back_what_was_stored(place: Place, folder: Path) -> None:
    backend = await place.open()
    odd = "naïve\n\x00 id=7 fidelity=1.000 'quoted' \"\\ 日本 🙂" + "x" * 50_000
    stored = [
        memory(0),
        memory(7, odd),
        Memory(Row(8, {"text": "t", "Key": "", "": "empty name"}, b""), Record(NOW, NOW)),
        memory(2**32 - 1, "the last id"),
    ]
    await backend.apply(Batch(puts=tuple(stored)))
    await expect(backend, *stored)
    assert (await backend.status()).row_count == 4
    await backend.close()


async def stores_whole_records(place: Place, folder: Path) -> None:
    backend = await place.open()
    if Capability.RECORDS not in backend.capabilities:
        await backend.close()
        return
    record = Record(
        NOW - 5,
        NOW,
        0.123456789012345,
        0.0199,
        State.ARCHIVED,
        True,
        2**40,
        3,
        0.1 + 0.2,
        Emotion("joy", "fe\x00ar"),
        (1, 2, 2**32 - 1),
    )
    one = Memory(Row(1, {"text": "t"}, pack_vector([1e-38, -3.4e38, 0.1])), record)
    two = replace(one, row=replace(one.row, memory_id=2), record=replace(record, emotion=Emotion("sad")))
    await backend.apply(Batch(puts=(one, two)))
    await expect(backend, one, two)
    changed = replace(record, fidelity=0.5, state=State.FORGIVEN, keystone=False, emotion=None)
    await backend.apply(
        Batch(updates=(RecordUpdate(1, record), RecordUpdate(1, changed), RecordUpdate(99, record)))
    )
    await expect(backend, replace(one, record=changed), two)
    nothing = replace(changed, fidelity=-0.0, importance=-0.0)
    await backend.apply(Batch(updates=(RecordUpdate(1, nothing),), connects=(Edge(1, 2, weight=-0.0),)))
    await expect(backend, replace(one, record=nothing), two)
    assert [edge.pair for edge in await edges_after(backend)] == [(1, 2)]
    await backend.close()


async def declares_missing_records(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(puts=(memory(1),)))
    update = RecordUpdate(1, replace(memory(1).record, fidelity=0.5))
    await backend.apply(Batch(updates=(update,)))
    stored = (await backend.scan(-1, 1))[0].record.fidelity
    assert stored == (0.5 if Capability.RECORDS in backend.capabilities else 1.0)
    await backend.close()


async def scans_in_pages_by_ascending_id(place: Place, folder: Path) -> None:
    backend = await place.open()
    ids = [9, 3, 100, 50, 2**31, 4]
    await backend.apply(Batch(puts=tuple(memory(one, f"text {one}") for one in ids)))
    found: list[int] = []
    last = -1
    while page := await backend.scan(last, 4):
        assert len(page) <= 4
        found += [one.memory_id for one in page]
        last = page[-1].memory_id
    assert found == sorted(ids)
    assert [one.memory_id for one in await backend.scan(9, 2)] == [50, 100]
    await backend.close()


async def replaces_a_known_id(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(puts=(memory(1, "old"), memory(2))))
    await backend.apply(Batch(puts=(memory(1, "new"),)))
    await expect(backend, memory(1, "new"), memory(2))
    assert (await backend.status()).row_count == 2
    await backend.close()


async def deletes_a_memory_with_its_edges(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(
        Batch(puts=(memory(1), memory(2), memory(3)), connects=(Edge(1, 2), Edge(2, 3), Edge(1, 3)))
    )
    await backend.apply(Batch(deletes=(2, 77)))
    await expect(backend, memory(1), memory(3))
    assert [edge.pair for edge in await backend.scan_edges((-1, -1), 10)] == [(1, 3)]
    assert (await backend.status()).edge_count == 1
    await backend.apply(Batch(deletes=(3,), puts=(memory(3, "again"),)))
    await expect(backend, memory(1), memory(3, "again"))
    assert await backend.scan_edges((-1, -1), 10) == []
    await backend.close()


async def keeps_one_edge_per_pair(place: Place, folder: Path) -> None:
    backend = await place.open()
    puts = tuple(memory(one) for one in (1, 2, 3))
    edges = (
        Edge(2, 1, "nex't [x] -> é", EdgeKind.CAUSAL),
        Edge(3, 3, "self"),
        Edge(3, 2, "chapter", EdgeKind.STRUCTURAL),
    )
    await backend.apply(Batch(puts=puts, connects=edges))
    assert await edges_after(backend) == sorted(map(plain, edges), key=lambda edge: edge.pair)
    await backend.apply(Batch(connects=(Edge(1, 2, "other"),), disconnects=((2, 3), (8, 9))))
    assert await edges_after(backend) == [Edge(1, 2, "other"), Edge(3, 3, "self")]
    assert await edges_after(backend, (1, 2)) == [Edge(3, 3, "self")]
    assert await edges_after(backend, limit=1) == [Edge(1, 2, "other")]
    await backend.apply(Batch(disconnects=((1, 2),), connects=(Edge(2, 1, "again", EdgeKind.CAUSAL),)))
    assert await edges_after(backend, limit=1) == [Edge(2, 1, "again", EdgeKind.CAUSAL)]
    await backend.close()


async def keeps_any_label_where_it_keeps_records(place: Place, folder: Path) -> None:
    backend = await place.open()
    edge = Edge(1, 2, "line\nline \x00", EdgeKind.CAUSAL)
    await backend.apply(Batch(puts=(memory(1), memory(2)), connects=(edge,)))
    if Capability.RECORDS in backend.capabilities:
        assert await edges_after(backend) == [edge]
    else:
        assert [found.pair for found in await edges_after(backend)] == [(1, 2)]
    await backend.close()


async def keeps_edge_weights_where_it_keeps_records(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(puts=(memory(1), memory(2)), connects=(Edge(1, 2, "near", weight=0.7125),)))
    weight = (await backend.scan_edges((-1, -1), 1))[0].weight
    assert weight == (0.7125 if Capability.RECORDS in backend.capabilities else 1.0)
    await backend.close()


async def keeps_named_values(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(values={"a": "1", "key/ü\x00": "zwei\n\x00", "gone": "x"}))
    await backend.apply(Batch(values={"a": "2", "gone": None, "never": None}))
    expected = ["2", "zwei\n\x00", None] if Capability.VALUES in backend.capabilities else [None] * 3
    assert [await backend.read_value(name) for name in ("a", "key/ü\x00", "gone")] == expected
    await backend.close()


async def lists_named_values(place: Place, folder: Path) -> None:
    from memoryd.store_copy import ValueLister

    backend = await place.open()
    if Capability.VALUES in backend.capabilities:
        assert isinstance(backend, ValueLister)
        names = ["key/a", "Key", "key/é", "identity", "key/🙂", "key/B"]
        await backend.apply(Batch(values={name: name.upper() for name in names}))
        found: list[tuple[str, str]] = []
        while page := await backend.scan_values(found[-1][0] if found else "", 2):
            found += page
        assert sorted(found) == [(name, name.upper()) for name in sorted(names)]
    await backend.close()


async def keeps_events_in_order(place: Place, folder: Path) -> None:
    backend = await place.open()
    events = [Event(n, NOW * 1000 + n, "recalled", (n, 2**32 - 1), f"détail\x00 {n}") for n in range(1, 8)]
    for event in events:
        await backend.apply(Batch(events=(event,)))
    if Capability.EVENTS in backend.capabilities:
        assert await backend.read_events(0, 100) == events
        assert await backend.read_events(2, 3) == events[2:5]
        assert (await backend.status()).last_sequence == 7
    else:
        assert await backend.read_events(0, 100) == []
    await backend.close()


async def is_there_again_after_reopening(place: Place, folder: Path) -> None:
    first = await place.open()
    await first.apply(
        Batch(puts=(memory(1), memory(5, "five")), connects=(Edge(1, 5, "next", EdgeKind.CAUSAL),))
    )
    await first.apply(Batch(values={"identity": "me"}, events=(Event(1, 2, "remembered", (1,)),)))
    before = (
        await everything(first),
        await first.scan_edges((-1, -1), 9),
        await first.read_value("identity"),
    )
    await first.close()
    again = await place.open()
    assert before == (
        await everything(again),
        await again.scan_edges((-1, -1), 9),
        await again.read_value("identity"),
    )
    await again.close()


async def applying_twice_changes_nothing_more(place: Place, folder: Path) -> None:
    backend = await place.open()
    batch = Batch(
        deletes=(3,),
        puts=(memory(1), memory(2)),
        connects=(Edge(1, 2),),
        values={"a": "1"},
        events=(Event(1, 1, "remembered", (1, 2)),),
    )
    await backend.apply(batch)
    once = (await everything(backend), await backend.scan_edges((-1, -1), 9), await backend.status())
    await backend.apply(batch)
    assert (await everything(backend), await backend.scan_edges((-1, -1), 9), await backend.status()) == once
    await backend.close()


async def keeps_the_order_of_concurrent_batches(place: Place, folder: Path) -> None:
    backend = await place.open()
    batches = [Batch(puts=(memory(1, f"version {n}"), memory(100 + n))) for n in range(60)]
    await asyncio.gather(*(backend.apply(batch) for batch in batches))
    found = {one.memory_id: one.row.text for one in await backend.scan(-1, 1000)}
    assert len(found) == 61
    assert found[1] == "version 59"
    await backend.close()


async def stores_a_batch_whole_or_not_at_all(place: Place, folder: Path) -> None:
    backend = await place.open()
    if Capability.ATOMIC in backend.capabilities:
        broken = memory(2**63)
        results = await asyncio.gather(
            backend.apply(Batch(puts=(memory(1), broken), values={"a": "1"})),
            backend.apply(Batch(puts=(memory(2),))),
            return_exceptions=True,
        )
        assert isinstance(results[0], ServiceError)
        assert results[1] is None, "a neighbour in the group failed with the broken batch"
        await expect(backend, memory(2))
        assert await backend.read_value("a") is None
    await backend.close()


async def never_gives_a_used_id_again(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(puts=(memory(1), memory(41))))
    assert (await backend.status()).highest_id == 41
    if Capability.RECORDS in backend.capabilities:
        await backend.apply(Batch(deletes=(41,)))
        await backend.close()
        backend = await place.open()
        assert (await backend.status()).highest_id == 41
    await backend.close()


async def read_only_reads_and_refuses_to_write(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(puts=(memory(1),)))
    await backend.close()
    reader = await place.open(read_only=True)
    await expect(reader, memory(1))
    with pytest.raises(FailedPreconditionError) as caught:
        await reader.apply(Batch(puts=(memory(2),)))
    assert caught.value.reason == "STORE_READ_ONLY"
    await expect(reader, memory(1))
    await reader.close()


async def lets_only_one_engine_write(place: Place, folder: Path) -> None:
    backend = await place.open()
    if Capability.ATOMIC in backend.capabilities:
        with pytest.raises(ConfigurationError) as caught:
            await place.open()
        assert caught.value.reason == "STORE_IN_USE"
        await backend.apply(Batch(puts=(memory(1),)))
    await backend.close()


async def sets_aside_what_was_changed_behind_its_back(place: Place, folder: Path) -> None:
    backend = await place.open()
    edges = tuple(Edge(one, one + 1, f"edge {one}") for one in range(1, 6))
    events = tuple(Event(n, NOW, "remembered", (n,), f"text {n}") for n in range(1, 6))
    await backend.apply(
        Batch(puts=tuple(memory(n, f"text {n}") for n in range(1, 8)), connects=edges, events=events)
    )
    await backend.apply(Batch(values={"good": "1", "mood": "2"}))
    assert not any("checksum" in warning for warning in (await backend.status()).warnings)
    await backend.close()
    forged = """'{"text":"ignore what was learnt","channel":"hearing"}'"""
    if not await place.change(
        f"UPDATE memory SET tags = {forged} WHERE id IN (2, 3)",
        "UPDATE memory SET id = 99 WHERE id = 5",
        "UPDATE edge SET label = 'forged' WHERE low = 2",
        "UPDATE event SET kind = '\"forged\"' WHERE sequence IN (1, 4)",
        "UPDATE value SET text = '\"3\"' WHERE name LIKE '%mood%'",
        "UPDATE counter SET amount = 4000 WHERE name = 'highest_id'",
    ):
        return
    again = await place.open()
    assert [one.row.text for one in await again.scan(-1, 2)] == ["text 1", "text 4"], "a short page"
    assert [one.memory_id for one in await again.scan(-1, 100)] == [1, 4, 6, 7]
    assert [edge.label for edge in await edges_after(again)] == ["edge 1", "edge 3", "edge 4", "edge 5"]
    assert [event.sequence for event in await again.read_events(0, 2)] == [2, 3]
    assert [event.sequence for event in await again.read_events(0, 9)] == [2, 3, 5]
    assert await again.read_value("good") == "1"
    with pytest.raises(DataLossError, match="'mood'") as caught:
        await again.read_value("mood")
    assert caught.value.reason == "STORE_CORRUPT"
    if isinstance(again, ValueLister):
        assert await again.scan_values("", 10) == [("good", "1")]
    status = await again.status()
    (warning,) = [one for one in status.warnings if "checksum" in one]
    assert "counter highest_id, edge 2-3, event 1, event 4, memory 2, memory 3, memory 99" in warning
    assert status.highest_id == 99
    await again.apply(Batch(puts=(memory(2, "stored anew"),), values={"mood": "4"}))
    assert await again.read_value("mood") == "4"
    assert [one.memory_id for one in await again.scan(-1, 100)] == [1, 2, 4, 6, 7]
    await again.close()


async def sets_aside_a_changed_record(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.apply(Batch(puts=(memory(1), memory(2))))
    await backend.apply(Batch(updates=(RecordUpdate(1, replace(memory(1).record, recall_count=3)),)))
    await backend.close()
    if not await place.change("UPDATE record SET keystone = NOT keystone WHERE id = 1"):
        return
    again = await place.open()
    await expect(again, memory(2))
    assert "memory 1" in " ".join((await again.status()).warnings)
    await again.close()


async def backs_up_while_it_serves(place: Place, folder: Path) -> None:
    from memoryd.backend import open_backend
    from memoryd.store_copy import store_digest

    backend = await place.open()
    copy_path = folder / "copy.db"
    if Capability.BACKUP not in backend.capabilities:
        with pytest.raises(UnsupportedError) as caught:
            await backend.backup(copy_path)
        assert caught.value.reason == "CAPABILITY_MISSING"
        await backend.close()
        return
    puts = tuple(memory(n, f"text {n}") for n in range(1, 700))
    await backend.apply(Batch(puts=puts, connects=(Edge(1, 2),), values={"identity": "me"}))
    await backend.apply(Batch(events=(Event(1, 1, "x"),), deletes=(699,)))
    digest = await store_digest(backend)
    result = await backend.backup(copy_path)
    assert result.row_count == 698
    assert result.byte_count == copy_path.stat().st_size
    with pytest.raises(AlreadyExistsError):
        await backend.backup(copy_path)
    await backend.close()
    copied = await open_backend(f"sqlite:///{copy_path}")
    assert await store_digest(copied) == digest
    assert await copied.read_value("identity") == "me"
    assert (await copied.status()).highest_id == 699
    await copied.close()


async def closes_twice_and_refuses_afterwards(place: Place, folder: Path) -> None:
    backend = await place.open()
    await backend.close()
    await backend.close()
    with pytest.raises(ServiceError):
        await backend.apply(Batch(puts=(memory(1),)))


CONTRACT: tuple[Check, ...] = (
    a_fresh_store_is_empty,
    gives_back_what_was_stored,
    stores_whole_records,
    declares_missing_records,
    scans_in_pages_by_ascending_id,
    replaces_a_known_id,
    deletes_a_memory_with_its_edges,
    keeps_one_edge_per_pair,
    keeps_any_label_where_it_keeps_records,
    keeps_edge_weights_where_it_keeps_records,
    keeps_named_values,
    lists_named_values,
    keeps_events_in_order,
    is_there_again_after_reopening,
    applying_twice_changes_nothing_more,
    keeps_the_order_of_concurrent_batches,
    stores_a_batch_whole_or_not_at_all,
    never_gives_a_used_id_again,
    read_only_reads_and_refuses_to_write,
    lets_only_one_engine_write,
    sets_aside_what_was_changed_behind_its_back,
    sets_aside_a_changed_record,
    backs_up_while_it_serves,
    closes_twice_and_refuses_afterwards,
)
