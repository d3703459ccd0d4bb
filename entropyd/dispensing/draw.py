"""What a draw of random bytes is, wherever it is served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from entropyd.health import SourceHealth
from entropyd.source import SourceKind

MAX_DRAW_BYTES = 1_048_576


class PoolKind(StrEnum):
    FULL = "full"
    DRBG = "drbg"


class Policy(StrEnum):
    FALLBACK = "fallback"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Draw:
    """Bytes with the account of where they came from.

    claimed_min_entropy_bits is this daemon's own account: 0 for `os`, for `file`, and for a remote server
    that claims nothing. generation counts the reseeds of the generator.
    """

    draw_id: str
    data: bytes
    source: SourceKind
    source_detail: str
    pool: PoolKind
    claimed_min_entropy_bits: float
    health: SourceHealth
    generation: int
    drawn_at: datetime
