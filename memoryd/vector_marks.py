"""Which memories wait for a vector. Durable beside them: one named value for each block of ids."""

from __future__ import annotations

import json
from collections.abc import Iterable

from memoryd.store import Store

BLOCK = 256  # ids to a value: what one more memory writes stays small, however many wait


class VectorMarks:
    """Ids of memories without a vector that shall get one.

    A mark is stored in the batch of its memory and taken away in the batch of the vector. One that outlives
    its reason does no harm: `load` believes only those of memories that have no vector.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._blocks.values()))

    def __contains__(self, memory_id: int) -> bool:
        return memory_id in self._blocks.get(memory_id // BLOCK, ())

    def ids(self) -> list[int]:
        """Every marked id, ascending."""
        return sorted(memory_id for block in self._blocks.values() for memory_id in block)

    async def load(self, store: Store, candidates: Iterable[int]) -> None:
        """Reads which of the candidates are marked. Raises the backend's errors."""
        by_block: dict[int, set[int]] = {}
        for memory_id in candidates:
            by_block.setdefault(memory_id // BLOCK, set()).add(memory_id)
        for block, ids in by_block.items():
            text = await store.read_value(_name(block))
            marked = ids.intersection(json.loads(text)) if text else set()
            if marked:
                self._blocks[block] = marked

    def add(self, memory_ids: Iterable[int]) -> dict[str, str | None]:
        """Marks memories; answers the values that belong into the batch that stores them."""
        changed = set()
        for memory_id in memory_ids:
            self._blocks.setdefault(memory_id // BLOCK, set()).add(memory_id)
            changed.add(memory_id // BLOCK)
        return {_name(block): json.dumps(sorted(self._blocks[block])) for block in sorted(changed)}

    def remove(self, memory_ids: Iterable[int]) -> dict[str, str | None]:
        """Takes marks away, as far as there are any; answers the values of the batch that is the reason.

        When that batch fails, they must be added again.
        """
        values: dict[str, str | None] = {}
        for memory_id in memory_ids:
            number = memory_id // BLOCK
            if memory_id in self:
                self._blocks[number].remove(memory_id)
                values[_name(number)] = None
        for number in [number for number, block in self._blocks.items() if _name(number) in values]:
            if self._blocks[number]:
                values[_name(number)] = json.dumps(sorted(self._blocks[number]))
            else:
                del self._blocks[number]
        return values


def _name(block: int) -> str:
    return f"vectors/waiting/{block}"
