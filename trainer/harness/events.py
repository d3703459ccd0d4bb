"""Events of a run: one JSON object a line on a file descriptor that the trainer reads.

Types: start (training begins now), metric {step, values}, end (training has ended), checkpoint, summary,
failure {reason, message}. Metrics are batched; the others are written at once. When the reader has gone,
events are dropped: a run does not die of it.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping

FLUSH_SECONDS = 0.25
FLUSH_LINES = 64


class EventWriter:
    """Writes events to descriptor, or nowhere when it is negative."""

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._pending: list[bytes] = []
        self._flushed = clock()

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """One sample; written with others, a quarter of a second late at most while samples come."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._append({"type": "metric", "step": step, "values": finite})
        if len(self._pending) >= FLUSH_LINES or self._clock() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def emit(self, kind: str, **fields: object) -> None:
        """Any other event, written before this returns."""
        self._append({"type": kind, **fields})
        self.flush()

    def flush(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._flushed = self._clock()
        while data and self._descriptor >= 0:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._descriptor = -1

    def _append(self, event: Mapping[str, object]) -> None:
        if self._descriptor >= 0:
            self._pending.append(json.dumps(event).encode() + b"\n")
