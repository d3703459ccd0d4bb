"""Which memories a dream may merge: as a plain comparison of all pairs says, and never all pairs kept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memoryd.dreams.dream import GROUP_LIMIT
from memoryd.dreams.similar import SimilarPairs
from memoryd.embedding.embedder import NoEmbedder
from memoryd.engine import open_engine
from memoryd.memory import Memory, Record, Row, State, pack_vector
from memoryd.requests import NewMemory
from memoryd.sqlite.backend import open_sqlite


def memory(memory_id: int, vector: Sequence[float]) -> Memory:
    return Memory(Row(memory_id, {}, pack_vector(vector)), Record(0, 0))


def all_pairs(memories: Sequence[Memory]) -> dict[int, tuple[int, ...]]:
    vectors = {
        one.memory_id: np.frombuffer(one.row.vector, "<f4").astype(float)
        for one in memories
        if one.row.vector and one.record.state is State.ACTIVE and not one.record.keystone
    }
    found = {
        first: tuple(
            other
            for other in sorted(vectors)
            if other > first
            and vectors[first] @ vectors[other]
            >= 0.85 * np.linalg.norm(vectors[first]) * np.linalg.norm(vectors[other])
        )
        for first in sorted(vectors)
    }
    return {first: near for first, near in found.items() if near}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_from_dream_to_dream_equals_a_fresh_comparison(seed: int) -> None:
    chance, pairs = random.Random(seed), SimilarPairs()
    memories = {number: memory(number, [chance.gauss(0, 1) for _ in range(3)]) for number in range(60)}
    for _ in range(25):
        given = [memories[number] for number in sorted(memories)]
        assert pairs.update(given) == all_pairs(given)
        one = chance.choice(sorted(memories))
        old = memories.pop(one)
        match chance.randrange(5):
            case 0:
                memories[one] = memory(one, [chance.gauss(0, 1) for _ in range(3)])
            case 1:
                memories[one] = Memory(old.row, replace(old.record, state=State.ARCHIVED))
            case 2:
                memories[one] = Memory(old.row, replace(old.record, keystone=not old.record.keystone))
            case 3:
                number = chance.randrange(100, 200)
                memories[one] = old
                memories[number] = memory(number, [chance.gauss(0, 1) for _ in range(3)])


def test_of_a_thousand_memories_that_are_alike_each_knows_but_a_group() -> None:
    pairs = SimilarPairs()
    alike = [memory(number, (1.0, 0.001 * number, 0.0)) for number in range(500)]
    found = pairs.update(alike)
    assert found[0] == tuple(range(1, GROUP_LIMIT + 1))
    assert max(map(len, found.values())) == GROUP_LIMIT
    left = [*alike[:2], *alike[400:]]
    assert pairs.update(left)[0] == (1, *range(400, 400 + GROUP_LIMIT - 1))


async def test_memories_that_are_all_alike_become_one_in_a_few_dreams(tmp_path: Path) -> None:
    engine = await open_engine(await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}"), NoEmbedder())
    for number in range(300):
        await engine.remembering.remember(NewMemory({"text": f"note {number}"}, vector=(1.0, 0.5)))
    merged = [len((await engine.dreaming.dream()).consolidated_ids) for _ in range(4)]
    assert merged == [300, 5, 0, 0]
    assert engine.store.mirror.count(State.ACTIVE) == 1
    await engine.store.backend.close()
