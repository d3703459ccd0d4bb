"""What the judge can say of a proposal, and the pairs of measurements that it says it from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """KEEP and EQUIVALENT become commits; RETEST asks for one more pair; the rest is recorded and left."""

    KEEP = "keep"
    EQUIVALENT = "equivalent"
    DISCARD = "discard"
    RETEST = "retest"
    CRASH = "crash"
    BASELINE = "baseline"
    REFUSED = "refused"


@dataclass(frozen=True)
class Pair:
    """Candidate and incumbent, trained on the same seed: validation bits per byte, lower is better."""

    seed: int
    candidate: float
    incumbent: float

    @property
    def difference(self) -> float:
        """Candidate minus incumbent; negative is an improvement."""
        return self.candidate - self.incumbent


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason in one line and the numbers behind it (bits per byte)."""

    verdict: Verdict
    reason: str
    mean_difference: float
    standard_error: float
    pairs: int
