"""A start with the terms of an earlier one gives the same index as a start without, whatever has changed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from memoryd.embedding.embedder import NoEmbedder
from memoryd.engine import open_engine
from memoryd.index_file import WORTH_WRITING, IndexFile
from memoryd.memory import Batch, Memory, Record, Row, pack_vector
from memoryd.mirror import Mirror
from memoryd.retrieval.snapshot import freeze
from memoryd.sqlite.backend import open_sqlite
from tests.memoryd.running import running

WORDS = ("warmdown", "depth 8", "lr 0.04", "MATRIX_LR", "window", "softcap", "d12", "momentum", "4f2a91c")
QUESTIONS = ("depth 8 window", "what came after run 7", "matrix lr", "run 11", "softcap 30 to 15")


def memories(count: int, seed: int = 1) -> list[Memory]:
    chance = random.Random(seed)
    found = []
    for number in range(1, count + 1):
        text = f"run {number}: {' '.join(chance.choices(WORDS, k=4))}"
        vector = pack_vector([chance.random(), chance.random(), 0.5])
        found.append(
            Memory(Row(number, {"text": text, "channel": "hearing"}, vector), Record(number, number))
        )
    return found


def mirror_of(stored: list[Memory], snapshot: bytes | None = None) -> tuple[Mirror, int]:
    """A mirror as a start makes it, and how many texts it took apart."""
    mirror = Mirror()
    if snapshot is not None:
        mirror.prepare(snapshot)
    for memory in stored:
        mirror.put(memory)
    return mirror, mirror.finish_loading()


def contents(mirror: Mirror) -> object:
    """Everything that searching reads, in an order that does not depend on how it came together."""
    indexes = []
    for index in (mirror.retrieval.words, mirror.retrieval.terms):
        frozen = freeze(index)
        ends = [0, *frozen.ends.tolist()]
        postings = {
            term: sorted(
                zip(
                    frozen.ids[frozen.slots[ends[at] : ends[at + 1]]].tolist(),
                    frozen.counts[ends[at] : ends[at + 1]].tolist(),
                    strict=True,
                )
            )
            for at, term in enumerate(frozen.terms)
        }
        lengths = dict(zip(frozen.ids.tolist(), frozen.lengths.tolist(), strict=True))
        own = {memory_id: sorted(index.terms_of(memory_id)) for memory_id in lengths}
        indexes.append((postings, lengths, own, index.pair_count, len(index)))
    ids, matrix = mirror.retrieval.vectors.matrix()
    vector = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    ranked = [
        [
            (hit.memory_id, round(hit.score, 9), [(arm.arm, arm.rank) for arm in hit.arms])
            for hit in mirror.retrieval.rank(question, vector, 10)
        ]
        for question in QUESTIONS
    ]
    return indexes, ids.tolist(), matrix.tolist(), ranked, sorted(mirror.terms), mirror.terms.member_count


def test_a_start_with_a_snapshot_takes_no_text_apart_and_knows_the_same() -> None:
    stored = memories(300)
    fresh, apart = mirror_of(stored)
    assert apart == 300
    again, apart = mirror_of(stored, fresh.snapshot_of_terms())
    assert apart == 0
    assert contents(again) == contents(fresh)
    third, apart = mirror_of(stored, again.snapshot_of_terms())
    assert apart == 0
    assert contents(third) == contents(fresh)


def test_what_has_changed_since_the_snapshot_is_taken_apart_anew() -> None:
    old = memories(200)
    snapshot = mirror_of(old)[0].snapshot_of_terms()
    changed = Memory(Row(5, {"text": "a text of its own"}), Record(1, 1))
    stored = [memory for memory in old if memory.memory_id not in (5, 7, 8)] + [changed, *memories(203)[200:]]
    again, apart = mirror_of(stored, snapshot)
    fresh, _ = mirror_of(stored)
    assert apart == 4  # the changed one and the three new ones
    assert contents(again) == contents(fresh)
    for mirror in (again, fresh):
        mirror.remove(11)
        mirror.put(memories(300)[250])
        mirror.put(Memory(Row(12, {"text": "another text for twelve"}), Record(1, 1)))
    assert contents(again) == contents(fresh)


def test_removed_memories_leave_no_trace_in_a_snapshot() -> None:
    mirror, _ = mirror_of(memories(300))
    for memory_id in range(1, 200):
        mirror.remove(memory_id)
    left = memories(300)[199:]
    again, apart = mirror_of(left, mirror.snapshot_of_terms())
    assert apart == 0
    assert contents(again) == contents(mirror_of(left)[0])


def test_a_vector_of_another_dimension_can_be_left_out_as_without_a_snapshot() -> None:
    stored = memories(20)
    mirror = Mirror()
    mirror.prepare(mirror_of(stored)[0].snapshot_of_terms())
    mirror.put(stored[0])
    odd = Memory(Row(2, stored[1].row.tags, pack_vector([1.0])), stored[1].record)
    with pytest.raises(ValueError, match="dimension"):
        mirror.put(odd)
    mirror.put(Memory(Row(2, stored[1].row.tags), stored[1].record))
    mirror.finish_loading()
    assert len(mirror.retrieval.words) == len(mirror.retrieval.terms) == 2


def test_a_damaged_snapshot_never_gives_another_index() -> None:
    stored = memories(40)
    fresh, _ = mirror_of(stored)
    snapshot, expected = fresh.snapshot_of_terms(), contents(fresh)
    chance = random.Random(3)
    refused = 0
    for _ in range(60):
        damaged = bytearray(snapshot)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        mirror, apart = mirror_of(stored, bytes(damaged))
        refused += apart == 40
        assert contents(mirror) == expected
    for size in (0, 1, 100, len(snapshot) // 2, len(snapshot) - 1):
        mirror, apart = mirror_of(stored, snapshot[:size])
        assert apart == 40
        assert contents(mirror) == expected
    assert refused > 20


async def test_a_large_store_keeps_its_terms_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    backend = await open_sqlite(url)
    await backend.apply(Batch(puts=tuple(memories(WORTH_WRITING + 50))))
    index_file = IndexFile.of(url, None)
    first = await open_engine(backend, NoEmbedder(), index_file=index_file)
    written = (tmp_path / "memory.db.index").stat().st_mtime_ns
    second = await open_engine(backend, NoEmbedder(), index_file=index_file)
    assert contents(first.store.mirror) == contents(second.store.mirror)
    assert (tmp_path / "memory.db.index").stat().st_mtime_ns == written  # nothing new was worth writing
    assert [path.name for path in tmp_path.glob("*.partial")] == []
    (tmp_path / "memory.db.index").unlink()
    await open_engine(backend, NoEmbedder(), index_file=IndexFile.of(url, None, writable=False))
    assert not (tmp_path / "memory.db.index").exists()
    await backend.close()


def test_a_place_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    index_file = IndexFile(tmp_path / "file" / "index")
    index_file.write(b"data")
    assert index_file.read() is None
    assert IndexFile.of("postgresql://h/d", None).read() is None
    assert IndexFile.of("postgresql://h/d", tmp_path / "i").path == tmp_path / "i"


async def test_a_daemon_finds_the_same_with_its_snapshot_as_without(tmp_path: Path) -> None:
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    await backend.apply(Batch(puts=tuple(memories(WORTH_WRITING + 1))))
    await backend.close()
    chosen = tmp_path / "elsewhere" / "terms"
    answers = []
    for _ in range(2):
        async with running(tmp_path, f"--index-snapshot={chosen}") as daemon:
            found = await daemon.data("POST", "/search", {"query": "softcap momentum", "k": 50})
            recalled = await daemon.rpc.recall("run 77", limit=1)
            answers.append((found, recalled[0].memory.text))
    assert answers[0] == answers[1]
    assert chosen.is_file()
    assert not (tmp_path / "memory.db.index").exists()
