"""The whole store in memory: memories, terms, graph, search indexes. Answers every read."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from memoryd.graph import Graph
from memoryd.memory import Edge, Memory, Record, State
from memoryd.repeats import DIFF_TAG, HYPERPARAMETERS_TAG, RepeatIndex
from memoryd.retrieval.index import RetrievalIndex
from memoryd.retrieval.snapshot import Prepared, pack, unpack
from memoryd.terms import TermTree

_ECHO = re.compile(r"^\s*id=\d+ fidelity=[\d.]+ recalls=\d+ text=")


def plain_text(text: str) -> str:
    """The text without the layout in which a recall printed it, for finding echoes."""
    return _ECHO.sub("", text).strip()


def is_experiment(tags: Mapping[str, str]) -> bool:
    """Whether tags tell of a change that was tried, so that trying it again can be noticed."""
    return DIFF_TAG in tags or HYPERPARAMETERS_TAG in tags


class Mirror:
    """Kept by the engine alone, on the event loop; nothing here waits."""

    def __init__(self) -> None:
        self._memories: dict[int, Memory] = {}
        self._by_text: dict[str, list[int]] = {}
        self._states = dict.fromkeys(State, 0)
        self._keystones: set[int] = set()
        self.graph = Graph()
        self.retrieval = RetrievalIndex()
        self.terms = TermTree(self.retrieval.words)
        self._repeats = RepeatIndex()
        self._prepared: Prepared | None = None

    def prepare(self, snapshot: bytes) -> None:
        """Takes the terms of texts from an earlier start until `finish_loading`; a useless one is ignored."""
        self._prepared = unpack(snapshot, self.retrieval)

    def finish_loading(self) -> int:
        """Ends the use of a snapshot; answers how many texts had to be taken apart."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return len(self)
        prepared.finish()
        return len(self) - prepared.placed

    def snapshot_of_terms(self) -> bytes:
        """What `prepare` takes at the next start."""
        return pack(self.retrieval, self._memories.values())

    def __len__(self) -> int:
        return len(self._memories)

    def __contains__(self, memory_id: int) -> bool:
        return memory_id in self._memories

    def get(self, memory_id: int) -> Memory | None:
        return self._memories.get(memory_id)

    def ids(self) -> list[int]:
        """Every id, ascending."""
        return sorted(self._memories)

    def memories(self, after_id: int = -1) -> Iterator[Memory]:
        """Every memory with an id above `after_id`, ascending."""
        ids = self.ids()
        return (self._memories[memory_id] for memory_id in ids[bisect_right(ids, after_id) :])

    def snapshot(self) -> list[Memory]:
        """Every memory in no order, at once: memories are values, so the list never changes."""
        return list(self._memories.values())

    @property
    def highest_id(self) -> int:
        return max(self._memories, default=0)

    @property
    def dimension(self) -> int:
        """0 until the first vector is stored."""
        return self.retrieval.vectors.dimension

    @property
    def keystones(self) -> frozenset[int]:
        return frozenset(self._keystones)

    def count(self, state: State) -> int:
        return self._states[state]

    def with_text(self, text: str) -> list[int]:
        """Ids of the memories with this text, ascending."""
        return sorted(self._by_text.get(plain_text(text), ()))

    def repeats_of(self, tags: Mapping[str, str]) -> list[int]:
        """Ids of the memories with the same text, then of those that tried the same change, by likeness."""
        same = self.with_text(tags.get("text", "")) if tags.get("text") else []
        tried = [repeat.memory_id for repeat in self._repeats.find(tags)] if is_experiment(tags) else []
        return list(dict.fromkeys([*same, *tried]))

    def put(self, memory: Memory) -> None:
        """Adds a memory or replaces the one of its id, indexes included."""
        memory_id = memory.memory_id
        self._forget(memory_id)
        self._memories[memory_id] = memory
        self._count(memory_id, memory.record)
        text = memory.row.text
        self._by_text.setdefault(plain_text(text), []).append(memory_id)
        if self._prepared is None or not self._prepared.place(memory):
            self.retrieval.add(memory)
        self.terms.add_tags(memory_id, memory.row.tags)
        self._repeats.remove(memory_id)
        if is_experiment(memory.row.tags):
            self._repeats.add(memory_id, memory.row.tags)

    def give_vector(self, memory_id: int, vector: bytes) -> None:
        """Gives a known memory its vector. Raises ValueError for another dimension."""
        memory = self._memories[memory_id]
        self.retrieval.vectors.add(memory_id, vector)
        self._memories[memory_id] = replace(memory, row=replace(memory.row, vector=vector))

    def update(self, memory_id: int, record: Record) -> None:
        """Replaces the record of a known memory."""
        memory = self._memories.get(memory_id)
        if memory is None:
            return
        self._states[memory.record.state] -= 1
        self._memories[memory_id] = Memory(memory.row, record)
        self._count(memory_id, record)

    def remove(self, memory_id: int) -> None:
        """Takes a memory out with its edges, terms and search document."""
        if self._forget(memory_id):
            self.retrieval.remove(memory_id)
            self.terms.remove(memory_id)
            self._repeats.remove(memory_id)
            self._keystones.discard(memory_id)
        self.graph.remove_node(memory_id)

    def connect(self, edges: Iterable[Edge]) -> None:
        for edge in edges:
            self.graph.connect(edge)

    def _forget(self, memory_id: int) -> bool:
        old = self._memories.pop(memory_id, None)
        if old is None:
            return False
        self._states[old.record.state] -= 1
        holders = self._by_text[plain_text(old.row.text)]
        holders.remove(memory_id)
        if not holders:
            del self._by_text[plain_text(old.row.text)]
        return True

    def _count(self, memory_id: int, record: Record) -> None:
        self._states[record.state] += 1
        if record.keystone:
            self._keystones.add(memory_id)
        else:
            self._keystones.discard(memory_id)
