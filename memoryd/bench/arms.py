"""The retrieval arms that the benchmark compares, over one set of documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apsw

from memoryd.embedding.embedder import Matrix
from memoryd.memory import Memory, Record, Row
from memoryd.retrieval.fusion import Arm, reciprocal_ranking
from memoryd.retrieval.index import RetrievalIndex, Weights

ARM_DEPTH = 50
WITHOUT_TIME = Weights(recency=0.0, newest_first=False)
Search = Callable[[int], list[tuple[int, float]]]


@dataclass(frozen=True)
class Document:
    memory_id: int
    text: str
    created: int


class Arms:
    """`search[name](question number)` gives (id, score), best first, at most 50."""

    def __init__(
        self, documents: Sequence[Document], vectors: Matrix | None, questions: Sequence[str]
    ) -> None:
        self._documents = documents
        self._questions = questions
        self._query_vectors: Matrix | None = None
        self._index = _build_index(documents, vectors, with_glossary=True)
        self._plain = _build_index(documents, vectors, with_glossary=False)
        self._recent = [one.memory_id for one in sorted(documents, key=lambda one: -one.created)][:ARM_DEPTH]
        self._words = _full_text(documents)
        self.search: dict[str, Search] = {
            "recency": lambda number: [(found, 0.0) for found in self._recent],
            "fts5": self._fts5,
            "dense": self._dense,
            "rrf60": self._rrf60,
            "ours": lambda number: self._ours(self._index, number, Weights()),
            "ours-no-decay": lambda number: self._ours(self._index, number, WITHOUT_TIME),
            "ours-no-glossary": lambda number: self._ours(self._plain, number, Weights()),
        }
        if vectors is None:
            del self.search["dense"], self.search["rrf60"]

    def use_query_vectors(self, vectors: Matrix | None) -> None:
        """One row for each question."""
        self._query_vectors = vectors

    @property
    def index(self) -> RetrievalIndex:
        return self._index

    def _fts5(self, number: int) -> list[tuple[int, float]]:
        words = re.findall(r"\w+", self._questions[number])
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._words.execute(
            "SELECT rowid, -bm25(note) FROM note WHERE note MATCH ? ORDER BY bm25(note) LIMIT ?",
            (query, ARM_DEPTH),
        )
        return [(int(str(found)), float(str(score))) for found, score in rows] if words else []

    def _dense(self, number: int) -> list[tuple[int, float]]:
        assert self._query_vectors is not None
        return self._index.vectors.nearest_cosine(self._query_vectors[number], ARM_DEPTH)

    def _rrf60(self, number: int) -> list[tuple[int, float]]:
        arms = [
            Arm(name, [found for found, _ in search(number)])
            for name, search in (("fts5", self._fts5), ("dense", self._dense))
        ]
        return reciprocal_ranking(arms)[:ARM_DEPTH]

    def _ours(self, index: RetrievalIndex, number: int, weights: Weights) -> list[tuple[int, float]]:
        vector = None if self._query_vectors is None else self._query_vectors[number]
        hits = index.rank(self._questions[number], vector, ARM_DEPTH, weights=weights)
        return [(hit.memory_id, hit.score) for hit in hits]


def _build_index(
    documents: Sequence[Document], vectors: Matrix | None, *, with_glossary: bool
) -> RetrievalIndex:
    index = RetrievalIndex(with_glossary=with_glossary)
    for position, one in enumerate(documents):
        vector = b"" if vectors is None else vectors[position].astype("<f4").tobytes()
        index.add(Memory(Row(one.memory_id, {"text": one.text}, vector), Record(one.created, one.created)))
    return index


def _full_text(documents: Sequence[Document]) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE VIRTUAL TABLE note USING fts5(text, tokenize='porter unicode61')")
    with connection:
        connection.executemany(
            "INSERT INTO note(rowid, text) VALUES(?, ?)", ((one.memory_id, one.text) for one in documents)
        )
    return connection
