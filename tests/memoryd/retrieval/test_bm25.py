"""BM25, its probability, its index under change."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryd.retrieval.bm25 import Bm25Hit, Bm25Index, Calibration, probability
from memoryd.retrieval.tokens import tokenize

DOCUMENTS = {1: "weber bracket newton", 2: "weber force law", 3: "quantum wave"}


def index_of(documents: dict[int, str]) -> Bm25Index:
    index = Bm25Index()
    for memory_id, text in documents.items():
        index.add(memory_id, tokenize(text))
    return index


def test_the_contracted_golden() -> None:
    hits = index_of(DOCUMENTS).search(tokenize("weber force"))
    shown = [(h.memory_id, round(h.score, 3), round(probability(h, Calibration()), 4)) for h in hits]
    assert shown == [(2, 1.380, 0.6061), (1, 0.447, 0.3770)]


def test_repeated_query_terms_count_again() -> None:
    index = index_of(DOCUMENTS)
    once, twice = index.search(["forc"])[0].score, index.search(["forc", "forc"])[0].score
    assert twice == pytest.approx(2 * once)


def test_a_query_without_known_terms_finds_nothing() -> None:
    assert index_of(DOCUMENTS).search(tokenize("the unknown")) == []
    assert Bm25Index().search(["weber"]) == []


def test_equal_scores_come_by_ascending_id_under_a_limit() -> None:
    index = index_of({9: "weber", 3: "weber", 7: "weber", 1: "other"})
    assert [hit.memory_id for hit in index.search(["weber"], limit=2)] == [3, 7]


def test_calibration_of_a_tiny_corpus_is_neutral() -> None:
    assert index_of({1: "weber"}).calibrate() == Calibration(1.0, 0.0)


def test_calibration_is_the_median_and_spread_of_term_scores() -> None:
    index = index_of({1: "aa bb", 2: "aa", 3: "cc dd"})
    pairs = [("aa", 0), ("aa", 1), ("bb", 0), ("cc", 0), ("dd", 0)]
    scores = [index.search([term])[position].score for term, position in pairs]
    mean = sum(scores) / 5
    spread = math.sqrt(sum((s - mean) ** 2 for s in scores) / 5)
    found = index.calibrate()
    assert found.beta == pytest.approx(sorted(scores)[2])
    assert found.alpha == pytest.approx(min(max(1 / max(spread, 0.01), 0.1), 10))


def plain_score(documents: dict[int, list[str]], query: list[str], memory_id: int) -> float:
    """The formula, read off the contract, without any index."""
    total, mean = len(documents), sum(map(len, documents.values())) / len(documents)
    own, score = documents[memory_id], 0.0
    for term in query:
        holders = sum(term in tokens for tokens in documents.values())
        idf = max(0.0, math.log((total - holders + 0.5) / (holders + 0.5) + 1))
        tf = own.count(term)
        score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(own) / max(mean, 1)))
    return score


words = st.lists(st.sampled_from(["lr", "depth", "muon", "bpb", "warm"]), max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.none() | words), max_size=40), words)
def test_any_history_of_adds_and_removes_scores_as_the_formula(
    history: list[tuple[int, list[str] | None]], query: list[str]
) -> None:
    index, documents = Bm25Index(), dict[int, list[str]]()
    for memory_id, tokens in history:
        if tokens is None:
            index.remove(memory_id)
            documents.pop(memory_id, None)
        else:
            index.add(memory_id, tokens)
            documents[memory_id] = tokens
    expected = {i: plain_score(documents, query, i) for i, own in documents.items() if set(own) & set(query)}
    found = {hit.memory_id: hit.score for hit in index.search(query)}
    assert found == pytest.approx(expected)


def test_compaction_keeps_every_answer() -> None:
    index = Bm25Index()
    for memory_id in range(2000):
        index.add(memory_id, ["all", f"own{memory_id}"])
    for memory_id in range(1500):
        index.remove(memory_id)
    assert len(index) == 500
    assert [hit.memory_id for hit in index.search(["own1999"])] == [1999]
    assert len(index.search(["all"])) == 500
    assert index.search(["own3"]) == []


def test_an_extreme_score_neither_overflows_nor_leaves_the_unit_interval() -> None:
    for score in (-1e6, 0.0, 1e6):
        assert 0.0 <= probability(Bm25Hit(1, score, 10**9, 1e9), Calibration(10.0, 0.0)) <= 1.0


def test_a_weight_is_a_word_said_as_often() -> None:
    index = Bm25Index()
    for memory_id, text in enumerate(("weber force", "weber law", "quantum wave"), start=1):
        index.add(memory_id, tokenize(text))
    twice = {hit.memory_id: hit.score for hit in index.search(tokenize("weber weber force"))}
    ids, scores = index.scores({"weber": 2.0, "forc": 1.0})
    assert dict(zip(ids.tolist(), scores.tolist(), strict=True)) == twice
