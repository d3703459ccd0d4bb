"""Edges and keystones: the small changes a caller makes to stored memories."""

from __future__ import annotations

from dataclasses import replace

from memoryd.memory import Batch, Edge, EdgeKind, Memory, RecordUpdate, State
from memoryd.remembering import not_found
from memoryd.store import Store
from services.errors import InvalidArgumentError

LABEL_LIMIT = 500


class Linking:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def connect(
        self, source: int, target: int, label: str = "related", kind: EdgeKind = EdgeKind.SEMANTIC
    ) -> Edge:
        """Adds or replaces the edge of a pair; the ids need not be stored. Durable when this returns."""
        if len(label) > LABEL_LIMIT:
            raise InvalidArgumentError(
                f"label: {len(label)} characters are more than {LABEL_LIMIT}", field="label"
            )
        edge = Edge(source, target, label, kind)
        await self._store.commit(Batch(connects=(edge,)), "connected", (source, target), label)
        return edge

    async def disconnect(self, first: int, second: int) -> bool:
        """Removes the edge of a pair; False where there is none."""
        if self._store.mirror.graph.edge(first, second) is None:
            return False
        await self._store.commit(Batch(disconnects=((first, second),)), "disconnected", (first, second))
        return True

    async def set_keystone(self, memory_id: int, keystone: bool | None) -> Memory:
        """Sets or clears the mark; None toggles it. Raises NotFoundError."""
        await self._store.settled([memory_id])
        memory = self._store.mirror.get(memory_id)
        if memory is None or memory.record.state is State.PRUNED:
            raise not_found(memory_id)
        wanted = not memory.record.keystone if keystone is None else keystone
        if wanted == memory.record.keystone:
            return memory
        record = replace(memory.record, keystone=wanted)
        update = RecordUpdate(memory_id, record)
        await self._store.commit(
            Batch(updates=(update,)), "keystone set" if wanted else "keystone unset", (memory_id,)
        )
        return Memory(memory.row, record)
