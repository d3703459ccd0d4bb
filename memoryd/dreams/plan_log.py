"""Applies a dream's plan in small durable steps, so that no request waits for a large dream.

A plan that is too large for one batch is first written beside the store piece by piece. One small value
then says that it counts; from there on it is applied piece by piece, each with its own removal from the
log, and a start after a crash goes on where the last one ended. A plan that never counted leaves nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memoryd.dreams.plan import DreamPlan, RecordChange, edge_row, read_edge_row
from memoryd.memory import Batch, Edge, RecordUpdate, Row, State, is_still
from memoryd.store import Store

PIECE = 400
HEADER = "dream/plan"


@dataclass(frozen=True)
class Piece:
    """A part of a plan: changes of records, edges out, edges in."""

    changes: Sequence[RecordChange] = ()
    disconnects: Sequence[tuple[int, int]] = ()
    edges: Sequence[Edge] = ()

    def to_json(self) -> str:
        rows = [change.to_row() for change in self.changes]
        data = {"changes": rows, "out": list(self.disconnects), "in": [edge_row(edge) for edge in self.edges]}
        return json.dumps(data, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Piece:
        data = json.loads(text)
        return Piece(
            [RecordChange.from_row(row) for row in data["changes"]],
            [(int(low), int(high)) for low, high in data["out"]],
            [read_edge_row(row) for row in data["in"]],
        )


class PlanLog:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: Mapping[int, Row] = {}  # what the plan under way is about; none after a start

    async def apply(
        self, plan: DreamPlan, values: Mapping[str, str], detail: str, rows: Mapping[int, Row] | None = None
    ) -> None:
        """Makes a plan and the given values durable. Raises the backend's errors.

        Whatever memory of `rows` is stored anew or removed meanwhile is left alone.
        """
        self._rows = rows or {}
        pieces = split(plan)
        touched = (*plan.report.consolidated_ids, *plan.report.forgiven_ids)[:200]
        if len(pieces) <= 1:
            piece = pieces[0] if pieces else Piece()
            await self._settled(piece)
            await self._store.commit(self._batch(piece, values), "dreamt", touched, detail)
            return
        await self._store.write_values({HEADER: json.dumps({"pieces": len(pieces), "counts": False})})
        for number, piece in enumerate(pieces):
            await self._store.write_values({f"{HEADER}/{number}": piece.to_json()})
            await asyncio.sleep(0)
        header = json.dumps({"pieces": len(pieces), "counts": True})
        await self._store.commit(Batch(values={HEADER: header, **values}), "dreamt", touched, detail)
        await self._apply_pieces(len(pieces))

    async def recover(self) -> int:
        """Finishes or drops what an interrupted dream left. Answers the number of pieces applied."""
        text = await self._store.read_value(HEADER)
        if text is None:
            return 0
        header = json.loads(text)
        count = int(header["pieces"])
        if header["counts"]:
            return await self._apply_pieces(count)
        names: dict[str, str | None] = {f"{HEADER}/{number}": None for number in range(count)}
        await self._store.write_values({**names, HEADER: None})
        return 0

    async def _apply_pieces(self, count: int) -> int:
        applied = 0
        for number in range(count):
            name = f"{HEADER}/{number}"
            text = await self._store.read_value(name)
            if text is None:
                continue
            piece = Piece.from_json(text)
            await self._settled(piece)
            await self._store.commit(self._batch(piece, {name: None}))
            applied += 1
            await asyncio.sleep(0.001)  # requests that wait go first
        await self._store.write_values({HEADER: None})
        return applied

    async def _settled(self, piece: Piece) -> None:
        await self._store.settled(change.memory_id for change in piece.changes)

    def _batch(self, piece: Piece, values: Mapping[str, str | None]) -> Batch:
        """The piece over the records as they now are: recalls made since the plan are kept."""
        get, rows = self._store.mirror.get, self._rows

        def is_known(memory_id: int) -> bool:
            memory, row = get(memory_id), rows.get(memory_id)
            return row is None or is_still(row, memory)

        updates = []
        for change in piece.changes:
            memory = get(change.memory_id)
            if memory is not None and is_known(change.memory_id):
                updates.append(RecordUpdate(change.memory_id, change.apply(memory.record)))
        pruned = tuple(one.memory_id for one in updates if one.record.state is State.PRUNED)
        return Batch(
            updates=tuple(updates),
            disconnects=tuple(pair for pair in piece.disconnects if all(map(is_known, pair))),
            connects=tuple(edge for edge in piece.edges if all(map(is_known, edge.pair))),
            values=values,
            events=(self._store.event("pruned", pruned),) if pruned else (),
        )


def split(plan: DreamPlan) -> list[Piece]:
    """A plan in pieces of at most PIECE changes each, edges in order."""
    pieces = [
        Piece(changes=plan.changes[start : start + PIECE]) for start in range(0, len(plan.changes), PIECE)
    ]
    links = [
        *(
            Piece(disconnects=plan.disconnects[start : start + PIECE])
            for start in range(0, len(plan.disconnects), PIECE)
        ),
        *(Piece(edges=plan.connects[start : start + PIECE]) for start in range(0, len(plan.connects), PIECE)),
    ]
    if len(pieces) <= 1 and sum(len(piece.disconnects) + len(piece.edges) for piece in links) <= PIECE:
        changes = pieces[0].changes if pieces else ()
        return [Piece(changes, plan.disconnects, plan.connects)]
    return [*pieces, *links]
