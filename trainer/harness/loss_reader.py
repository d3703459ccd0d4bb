"""Losses read from the device a few steps late, so that reading them never makes the device wait."""

import math
from typing import Any

import torch

from trainer.harness.events import EventWriter
from trainer.harness.failures import NotFiniteError

LAG_STEPS = 2
LARGEST_LOSS = 100.0
FINAL_STEPS = 10


class LossReader:
    """Takes the mean loss of each step, emits it as a metric, and stops a run that has diverged.

    first is the loss of the first step, last the newest one known. On CUDA a loss is copied while the
    device goes on, and looked at LAG_STEPS steps later; that also bounds how far the host runs ahead.
    """

    def __init__(self, events: EventWriter) -> None:
        self.first = self.last = math.nan
        self._recent: list[float] = []
        self._events = events
        self._waiting: list[tuple[int, torch.Tensor, Any, dict[str, float]]] = []

    def submit(self, step: int, loss: torch.Tensor, values: dict[str, float]) -> None:
        """Takes the loss of a step, 0-D. Raises NotFiniteError for this or an earlier step's."""
        event = None
        if loss.is_cuda:
            loss = loss.to("cpu", non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._waiting.append((step, loss, event, values))
        while len(self._waiting) > (0 if event is None else LAG_STEPS):
            self._take()

    def finish(self) -> float:
        """Takes the rest and returns the mean loss of the last ten steps."""
        while self._waiting:
            self._take()
        return sum(self._recent) / max(len(self._recent), 1)

    def _take(self) -> None:
        step, loss, event, values = self._waiting.pop(0)
        if event is not None:
            event.synchronize()
        self.last = loss.item()
        if step == 0:
            self.first = self.last
        self._recent = [*self._recent[1 - FINAL_STEPS :], self.last]
        self._events.metric(step, {"loss": self.last, **values})
        if not self.last <= LARGEST_LOSS:  # not > : NaN compares false
            raise NotFiniteError(f"the loss of step {step} is {self.last}")
