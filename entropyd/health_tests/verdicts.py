"""What a health test says of a chunk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """Worse is larger. OK: full credit. DEGRADED: the chunk counts by `credit_factor`. FAILED: an alarm,
    nothing made so far is kept. PERMANENT: an alarm that only reopening the source can end."""

    OK = 0
    DEGRADED = 1
    FAILED = 2
    PERMANENT = 3


@dataclass(frozen=True)
class Verdict:
    """`test` is the documented name; `credit_factor` is 0, 0.5 or 1."""

    test: str
    severity: Severity
    credit_factor: float
    explanation: str

    @property
    def is_alarm(self) -> bool:
        """True when the open block and all that was made before must go."""
        return self.credit_factor == 0.0


PASSED = Verdict("", Severity.OK, 1.0, "")


def degraded(test: str, explanation: str) -> Verdict:
    """Half the credit, no alarm."""
    return Verdict(test, Severity.DEGRADED, 0.5, explanation)


def uncredited(test: str, explanation: str) -> Verdict:
    """An alarm without a failure: the receiver works, but its samples are worth nothing now."""
    return Verdict(test, Severity.DEGRADED, 0.0, explanation)


def failed(test: str, explanation: str) -> Verdict:
    return Verdict(test, Severity.FAILED, 0.0, explanation)


def permanent(test: str, explanation: str) -> Verdict:
    return Verdict(test, Severity.PERMANENT, 0.0, explanation)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe; among equals the least credit, then the first."""
    result = PASSED
    for verdict in verdicts:
        if (verdict.severity, -verdict.credit_factor) > (result.severity, -result.credit_factor):
            result = verdict
    return result
