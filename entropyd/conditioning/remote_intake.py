"""What is done with bytes from another server: conditioned and credited where it claims full entropy from
a healthy radio, else only mixed in."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from entropyd.conditioning.conditioner import Conditioner
from entropyd.conditioning.pools import Block
from entropyd.health import HealthState
from entropyd.source import Chunk, RemoteStatement, SourceDescription

_ALIVE = (HealthState.HEALTHY.value, HealthState.DEGRADED.value)


class RemoteIntake:
    """`describe` gives the label that the bytes of a chunk carry, `condition` the blocks they make."""

    def __init__(self, server: SourceDescription, key: bytes) -> None:
        self._server = server
        self._key = key
        self._origin = server
        self._conditioner = Conditioner(key, server)

    def describe(self, chunk: Chunk) -> SourceDescription:
        statement = chunk.statement or RemoteStatement()
        if statement.source:
            said = f"says {statement.source}, {statement.health or 'no health'}"
        else:
            said = "says nothing of its source"
        return replace(self._server, detail=f"{self._server.detail} ({said})")

    def is_credited(self, chunk: Chunk) -> bool:
        """True when the server claims a full account from a live radio for these bytes."""
        statement = chunk.statement
        return (
            statement is not None
            and statement.source == "radio"
            and statement.pool == "full"
            and statement.health in _ALIVE
            and statement.claimed_min_entropy_bits >= 8.0 * len(chunk.data)
        )

    def condition(self, chunk: Chunk) -> list[Block]:
        """40 bytes of the other server make a block of 32."""
        origin = self.describe(chunk)
        if origin != self._origin:
            self._origin, self._conditioner = origin, Conditioner(self._key, origin)
        return self._conditioner.add(chunk.data, Fraction(8))
