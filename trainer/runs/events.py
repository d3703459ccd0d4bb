"""The events of a training process, with the times at which they came out of its pipe."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.runs.output import printable

LONGEST_EVENT = 1 << 18
MOST_VALUES = 40
LARGEST_COUNT = 1 << 53  # what is larger is no count of anything, and no wire format holds it


@dataclass
class TrainingRecord:
    """What the candidate says of its training. Times are monotonic seconds."""

    start_time: float | None = None
    end_time: float | None = None
    step_tokens: int = 0
    num_steps: int = 0
    tokens: int = 0
    checksum: int | None = None
    last_step: int = -1
    metric_count: int = 0
    initial_loss: float | None = None
    last_losses: list[float] = field(default_factory=list)
    failure_reason: str = ""
    failure_message: str = ""
    cpu_before_start: float = 0.0
    cpu_at_end: float = 0.0

    @property
    def final_loss(self) -> float | None:
        """Mean of the last ten steps."""
        return sum(self.last_losses) / len(self.last_losses) if self.last_losses else None


class EventReader:
    """Reads JSON lines into a record; malformed ones are dropped, the record stays bounded."""

    def __init__(
        self,
        on_metric: Callable[[int, Mapping[str, float]], None],
        on_phase: Callable[[str], None],
    ) -> None:
        self.record = TrainingRecord()
        self._on_metric, self._on_phase = on_metric, on_phase
        self._rest = b""
        self._now = self._cpu_seconds = 0.0

    def feed(self, data: bytes, now: float, cpu_seconds: float) -> None:
        """Takes what was read at a time, by which the run's processes had used so many CPU seconds."""
        self._now, self._cpu_seconds = now, cpu_seconds
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.take(line)
        self._rest = rest if len(rest) <= LONGEST_EVENT else b""

    def take(self, line: bytes) -> None:
        """Takes one line."""
        try:
            event = json.loads(line)
            kind = event["type"]
            if kind == "metric":
                self._metric(_count(event["step"]), event["values"])
            elif kind == "start":
                self._start(event)
            elif kind == "end":
                self._end(event)
            elif kind == "failure":
                self.record.failure_reason = str(event["reason"])[:64]
                self.record.failure_message = printable(str(event["message"]).partition("\n")[0])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return

    def _start(self, event: Mapping[str, Any]) -> None:
        if self.record.start_time is None:
            self.record.step_tokens = _count(event.get("step_tokens", 0))
            self.record.start_time = self._now
            self.record.cpu_before_start = self._cpu_seconds
            self._on_phase("start")

    def _end(self, event: Mapping[str, Any]) -> None:
        if self.record.start_time is not None and self.record.end_time is None:
            num_steps, tokens = _count(event["num_steps"]), _count(event["tokens"])
            checksum = event.get("checksum")
            self.record.checksum = _count(checksum) if checksum is not None else None
            self.record.num_steps, self.record.tokens = num_steps, tokens
            self.record.end_time = self._now
            self.record.cpu_at_end = self._cpu_seconds
            self._on_phase("end")

    def _metric(self, step: int, values: Mapping[str, Any]) -> None:
        record = self.record
        numbers = {
            printable(str(name)[:64]): float(value)
            for name, value in list(values.items())[:MOST_VALUES]
            if isinstance(value, int | float) and math.isfinite(value)
        }
        record.metric_count += 1
        record.last_step = max(record.last_step, step)
        if (loss := numbers.get("loss")) is not None:
            if record.initial_loss is None:
                record.initial_loss = loss
            record.last_losses = [*record.last_losses[-9:], loss]
        self._on_metric(step, numbers)


def _count(value: Any) -> int:
    """Raises ValueError for what cannot have been counted."""
    number = int(value)
    if not 0 <= number <= LARGEST_COUNT:
        raise ValueError("no count is negative or that large")
    return number
