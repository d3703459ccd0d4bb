"""The fused ranking of Recall."""

from __future__ import annotations

from memoryd.memory import Memory, Record, Row, pack_vector
from memoryd.retrieval.index import RetrievalIndex, Weights


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


def test_two_spellings_of_one_knob_are_equal_and_the_newer_comes_first() -> None:
    index = index_of(
        memory(1, "Verdict: raising qk norm gain helps at depth 8.", created=1),
        memory(2, "Verdict: raising QK_NORM does not help at depth 8 (measured again).", created=99),
        memory(3, "Verdict: raising the batch size helps at depth 8.", created=100),
    )
    assert [hit.memory_id for hit in index.rank("does raising qk norm gain help at depth 8?", None, 3)][
        :2
    ] == [
        2,
        1,
    ]


def test_what_describes_a_knob_outweighs_the_words_of_others() -> None:
    index = index_of(
        memory(1, "Muon momentum 0.9 -> 0.95 at depth 8"),
        memory(2, "NS_STEPS 5 -> 6 at depth 8: more steps of Muon"),
        memory(3, "MATRIX_LR 0.04 -> 0.05 at depth 8"),
        memory(4, "DEVICE_BATCH_SIZE 64 -> 128: a larger size at depth 8"),
    )
    assert index.rank("Muon step size at depth 8", None, 1)[0].memory_id == 3


def test_a_repeat_is_where_the_change_leads_not_where_it_starts() -> None:
    index = index_of(
        memory(1, "raised DROPOUT from 0.1 to 0.2 at depth 8"),
        memory(2, "raised DROPOUT from 0.05 to 0.1 at depth 8: worse, discarded"),
    )
    assert index.rank("proposal: raise dropout to 0.1 for the depth 8 model", None, 1)[0].memory_id == 2


def test_meaning_counts_for_every_candidate_of_the_words() -> None:
    near = [memory(n, "other", (1.0, 0.001 * n)) for n in range(1, 251)]
    far = [memory(n, "other", (-1.0, 0.001 * n)) for n in range(301, 551)]
    index = index_of(*near, *far, memory(900, "muon", (0.8, 0.6)), memory(901, "muon", (-0.8, 0.6)))
    hits = index.rank("muon unheard", [1, 0], 200, weights=Weights(newest_first=False))
    scores = {hit.memory_id: hit.score for hit in hits}
    assert scores[900] > scores[901], "neither is among the nearest 200, but one is nearer"


def test_a_filter_does_not_shorten_the_answer() -> None:
    index = index_of(*(memory(n, "muon", (1.0, 0.0)) for n in range(300)), memory(999, "muon", (0.1, 1.0)))
    hits = index.rank("", [1, 0], 1, allowed=lambda memory_id: memory_id == 999)
    assert [hit.memory_id for hit in hits] == [999]


def test_removed_memories_are_gone() -> None:
    index = index_of(memory(1, "muon 0.04", (1, 0)))
    index.remove(1)
    assert index.rank("muon 0.04", [1, 0], 5) == []
    assert len(index) == 0
