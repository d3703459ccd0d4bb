"""The fused ranking of Recall."""

from __future__ import annotations

from memoryd.memory import Memory, Record, Row, pack_vector
from memoryd.retrieval.index import RetrievalIndex


def memory(memory_id: int, text: str, vector: tuple[float, ...] = (), created: int = 0) -> Memory:
    return Memory(Row(memory_id, {"text": text}, pack_vector(vector)), Record(created, created))


def index_of(*memories: Memory) -> RetrievalIndex:
    index = RetrievalIndex()
    for one in memories:
        index.add(one)
    return index


def test_words_alone_rank_without_any_vector() -> None:
    index = index_of(
        memory(1, "weber bracket newton"), memory(2, "weber force law"), memory(3, "quantum wave")
    )
    assert [hit.memory_id for hit in index.rank("weber force", None, 10)] == [2, 1]


def test_meaning_alone_ranks_without_any_word() -> None:
    index = index_of(memory(1, "a", (1, 0)), memory(2, "b", (0, 1)))
    assert index.rank("", [0.1, 1], 1)[0].memory_id == 2


def test_a_number_is_found_in_another_spelling() -> None:
    index = index_of(memory(1, "lr 0.02 was worse"), memory(2, "lr 0.04 was worse"))
    assert index.rank("what did lr 4e-2 do", None, 1)[0].memory_id == 2


def test_scores_stay_in_the_unit_interval_and_arms_tell_their_ranks() -> None:
    index = index_of(memory(1, "muon muon muon", (1, 0)), memory(2, "adam", (0, 1)))
    best, second = index.rank("muon", [1, 0], 2)
    assert best.memory_id == 1
    assert 0.0 <= second.score <= best.score <= 1.0
    assert [(arm.arm, arm.rank) for arm in best.arms] == [("bm25", 1), ("vector", 1)]
    assert [(arm.arm, arm.rank) for arm in second.arms] == [("bm25", 0), ("vector", 2)]


def test_of_two_equal_answers_the_newer_comes_first() -> None:
    index = index_of(memory(1, "depth helped", created=1), memory(2, "depth helped", created=99))
    assert [hit.memory_id for hit in index.rank("depth", None, 2)] == [2, 1]


def test_a_filter_does_not_shorten_the_answer() -> None:
    index = index_of(*(memory(n, "muon", (1.0, 0.0)) for n in range(300)), memory(999, "muon", (0.1, 1.0)))
    hits = index.rank("", [1, 0], 1, allowed=lambda memory_id: memory_id == 999)
    assert [hit.memory_id for hit in hits] == [999]


def test_removed_memories_are_gone() -> None:
    index = index_of(memory(1, "muon 0.04", (1, 0)))
    index.remove(1)
    assert index.rank("muon 0.04", [1, 0], 5) == []
    assert len(index) == 0
