"""Serves bytes from the full pool, the generator or the operating system, and never mislabels them."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from entropyd.conditioning.pools import Block, FullPool
from entropyd.dispensing.draw import MAX_DRAW_BYTES, Draw, Policy, PoolKind
from entropyd.dispensing.generator import SECURITY_STRENGTH_BITS, Generator
from entropyd.health import HealthRecord, HealthState, utc_now
from entropyd.source import SourceDescription, SourceKind
from services.errors import InvalidArgumentError, UnavailableError

INSTANTIATE_BYTES = 48  # 384 credited bits, 1.5 times the security strength
RESEED_BYTES = 32
RESEED_AFTER_BYTES = 1_048_576
RESEED_AFTER_SECONDS = 60.0
OS_ORIGIN = SourceDescription(SourceKind.OS, "os:urandom", raw=False)
NOT_CREDITED = frozenset({SourceKind.OS, SourceKind.FILE})


class Dispenser:
    """Owns pool, generator and health. All methods are called from one thread.

    The source side sets `origin` while bytes of a source may be served, calls `accept` for blocks that
    passed every test, `mix` for bytes without a claim, and `withdraw` at an alarm: after it no byte made
    before it leaves under the source's label.
    """

    def __init__(
        self,
        *,
        pool: FullPool,
        generator: Generator,
        health: HealthRecord,
        os_random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float],
    ) -> None:
        self.pool = pool
        self.generator = generator
        self.health = health
        self._os_random = os_random
        self._clock = clock
        self._monotonic = monotonic
        self._reseeded_at = monotonic()
        self._seed_origin: SourceDescription | None = None
        self.origin = OS_ORIGIN
        self.served_bytes: Counter[SourceKind] = Counter()
        self.draws: Counter[SourceKind] = Counter()
        self.fallback_draws = 0

    @property
    def is_healthy(self) -> bool:
        """True while a source other than the operating system delivers and passes its tests."""
        return self.health.current.state in (HealthState.HEALTHY, HealthState.DEGRADED)

    def accept(self, block: Block) -> None:
        """Adds a finished block and reseeds the generator when it is due."""
        if self._seed_origin is not None and self._seed_origin != block.origin:
            self.withdraw()
        self.pool.add(block)
        needed = RESEED_BYTES if self._seed_origin else INSTANTIATE_BYTES
        due = (
            self._seed_origin is None
            or self.generator.bytes_since_reseed >= RESEED_AFTER_BYTES
            or self._monotonic() - self._reseeded_at >= RESEED_AFTER_SECONDS
        )
        if due and self.pool.byte_count >= needed:
            self.generator.reseed(self.pool.take(needed), 8.0 * needed)
            self._seed_origin = block.origin
            self._reseeded_at = self._monotonic()

    def mix(self, data: bytes, origin: SourceDescription) -> None:
        """Takes bytes that nobody vouches for into the generator: its output then carries their label and
        a claim of zero."""
        self.generator.mix(data)
        self.generator.radio_bits = 0.0
        self._seed_origin = origin

    def withdraw(self) -> int:
        """Forgets all bytes of the source and returns how many; the generator goes on from the system."""
        if self._seed_origin is not None:
            self.generator.forget_radio()
            self._seed_origin = None
        return self.pool.clear()

    def draw(self, byte_count: int, pool: PoolKind, policy: Policy) -> Draw:
        """Raises InvalidArgumentError outside 1..1048576 bytes and UnavailableError under `refuse`."""
        if not 1 <= byte_count <= MAX_DRAW_BYTES:
            raise InvalidArgumentError(
                f"byte_count is {byte_count}; it must be from 1 to {MAX_DRAW_BYTES}",
                field="byte_count",
                reason="INVALID_BYTE_COUNT",
            )
        if policy is Policy.REFUSE:
            self._refuse_without_radio()
        if pool is PoolKind.FULL:
            if self.is_healthy and self.pool.byte_count >= byte_count:
                return self._from_pool(byte_count)
            if policy is Policy.REFUSE:
                raise UnavailableError(
                    f"the full pool holds {self.pool.byte_count} of {byte_count} bytes; ask again or draw "
                    "from POOL_DRBG",
                    reason="POOL_SHORT",
                    metadata={"available_bytes": str(self.pool.byte_count)},
                    retry_after=1.0,
                )
            return self._from_system(byte_count)
        if self.is_healthy and self._seed_origin is not None:
            return self._from_generator(byte_count, self._seed_origin)
        if policy is Policy.REFUSE:
            raise UnavailableError(
                "the generator has no radio seed yet; ask again in a second",
                reason="POOL_SHORT",
                retry_after=1.0,
            )
        return self._from_system(byte_count)

    def draw_available(self, byte_count: int, policy: Policy) -> Draw:
        """The rule of the compatible HTTP routes: what the full pool holds, at most `byte_count` and
        perhaps nothing, while a source is healthy; the operating system only when none is."""
        if policy is Policy.REFUSE:
            self._refuse_without_radio()
        if not self.is_healthy or self.origin.kind is SourceKind.OS:
            return self._from_system(byte_count)
        if self._seed_origin is not None and not self.generator.radio_bits:
            return self._from_generator(byte_count, self._seed_origin) if byte_count else self._from_pool(0)
        return self._from_pool(byte_count)

    def _refuse_without_radio(self) -> None:
        health, kind = self.health.current, self.origin.kind
        is_radio = kind is SourceKind.RADIO or (kind is SourceKind.REMOTE and self.generator.radio_bits > 0)
        if self.is_healthy and is_radio:
            return
        test = health.failing_test or ("no-radio" if self.is_healthy else health.state.value)
        raise UnavailableError(
            f"no healthy radio source ({test}): {health.explanation or health.state.value}",
            reason="SOURCE_UNHEALTHY",
            metadata={"test": test, "state": health.state.value},
            retry_after=5.0,
        )

    def _from_pool(self, byte_count: int) -> Draw:
        origin = self.pool.origin or self.origin
        data = self.pool.take(byte_count)
        claimed = 0.0 if origin.kind in NOT_CREDITED else 8.0 * len(data)
        return self._account(data, origin, PoolKind.FULL, claimed)

    def _from_generator(self, byte_count: int, origin: SourceDescription) -> Draw:
        data = self.generator.generate(byte_count)
        bound = min(8.0 * byte_count, self.generator.radio_bits, float(SECURITY_STRENGTH_BITS))
        return self._account(data, origin, PoolKind.DRBG, 0.0 if origin.kind in NOT_CREDITED else bound)

    def _from_system(self, byte_count: int) -> Draw:
        self.fallback_draws += 1
        return self._account(self._os_random(byte_count), OS_ORIGIN, PoolKind.DRBG, 0.0)

    def _account(self, data: bytes, origin: SourceDescription, pool: PoolKind, claimed: float) -> Draw:
        self.served_bytes[origin.kind] += len(data)
        self.draws[origin.kind] += 1
        return Draw(
            draw_id=str(uuid.uuid4()),
            data=data,
            source=origin.kind,
            source_detail=origin.detail,
            pool=pool,
            claimed_min_entropy_bits=claimed,
            health=self.health.current,
            generation=self.generator.generation,
            drawn_at=self._clock(),
        )
