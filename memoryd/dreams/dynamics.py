"""How a single memory fades and is strengthened: pure functions of its record."""

from __future__ import annotations

import math
from dataclasses import replace

from memoryd.memory import Record, State, clamp_alpha

RECALL_FACTOR = 0.95
NEGLECT_FACTOR = 1.005
HALO_FACTOR = 0.99
FORGIVE_BELOW = 0.75
NEGLECTED_AFTER = 86_400  # seconds
ARCHIVED_AFTER = 3_600  # seconds


def recalled(record: Record, now: int) -> Record:
    """A memory that was just recalled: counted, dated, and fading more slowly."""
    return replace(
        record,
        recall_count=record.recall_count + 1,
        last_recalled=now,
        decay_alpha=clamp_alpha(record.decay_alpha * RECALL_FACTOR),
    )


def fade_factor(record: Record) -> float:
    """What one tick of decay leaves of the fidelity, 0..1."""
    return math.exp(-record.effective_alpha)


def is_below_gate(record: Record) -> bool:
    """Whether an active memory has faded enough to be forgiven; keystones never have."""
    return record.state is State.ACTIVE and record.fidelity < FORGIVE_BELOW and not record.keystone


def staleness(record: Record, now: int) -> int:
    """Seconds since the memory was last recalled or stored."""
    return max(0, now - record.last_recalled)
