"""An experiment that has not ended: numbers its events, commits them in groups, wakes its watchers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace

from pydantic import TypeAdapter

from services import tracing
from services.errors import ResourceExhaustedError, ServiceError, is_full_disk
from trainer.executor import DeviceInfo, EndEvent, LogEvent, MetricEvent, PhaseEvent, RunEvent
from trainer.experiment import Experiment, Failure, Result, State
from trainer.journal import Journal, StoredEvent, body

COMMIT_SECONDS = 0.05
MOST_LOG_LINES = 5_000
MOST_METRICS = 200_000
_EXPERIMENT = TypeAdapter(Experiment)
_ORDER = tuple(State)


def result_of_error(error: ServiceError | OSError) -> Result:
    """How a run failed that this machine could not carry on."""
    failure = Failure.DISK_FULL if is_full_disk(error) else Failure.INTERNAL
    return Result(failure=failure, failure_message=str(error))


class LiveRun:
    """Owns the sequence numbers of one experiment. `changed` is set, and replaced, at each commit."""

    def __init__(
        self,
        experiment: Experiment,
        journal: Journal,
        now: Callable[[], float],
        most_metrics: int = MOST_METRICS,
    ) -> None:
        self.experiment = experiment
        self.devices: tuple[DeviceInfo, ...] = ()
        self.cancel_reason = ""
        self.context = copy_context()
        self.changed = asyncio.Event()
        self._journal, self._now, self._most_metrics = journal, now, most_metrics
        self._sequence = journal.last_sequence(experiment.experiment_id)
        self._pending: list[StoredEvent] = []
        self._timer: asyncio.TimerHandle | None = None
        self._log_lines = self._metrics = self._dropped = 0
        # An adopted run tells everything again; what the journal holds already is passed over.
        self._known_lines, self._known_metrics = (
            journal.count(experiment.experiment_id, kind) for kind in ("log", "metric")
        )

    def change(
        self,
        *,
        state: State,
        start_time: float | None = None,
        end_time: float | None = None,
        result: Result | None = None,
    ) -> None:
        """Enters a state: durable before any watcher sees it. Raises ResourceExhaustedError, and then nothing
        has changed."""
        before = self.experiment, self._sequence, [*self._pending]
        if state.is_terminal and self._dropped:
            self._add("dropped", body(count=self._dropped))
        experiment = replace(self.experiment, state=state, last_sequence=self._sequence + 1)
        if start_time is not None:
            experiment = replace(experiment, start_time=start_time)
        if end_time is not None:
            experiment = replace(experiment, end_time=end_time)
        if result is not None:
            progress = 1.0 if state is State.SUCCEEDED else experiment.progress
            experiment = replace(experiment, result=result, progress=progress)
        self.experiment = experiment
        self._add("state", _EXPERIMENT.dump_json(experiment).decode())
        pending, self._pending = self._pending, []
        try:
            self._journal.save(experiment, pending)
        except ResourceExhaustedError:
            self.experiment, self._sequence, self._pending = before
            raise
        self._wake()

    def apply(self, event: RunEvent) -> None:
        """Takes in an event of the executor, the last one apart."""
        assert not isinstance(event, EndEvent)
        if isinstance(event, PhaseEvent):
            self.experiment = replace(
                self.experiment, tier=event.tier, progress=max(event.progress, self.experiment.progress)
            )
            if _ORDER.index(event.state) > _ORDER.index(self.experiment.state):
                with suppress(ResourceExhaustedError):  # the run goes on; only its end has to be written
                    self.change(state=event.state)
        elif isinstance(event, MetricEvent):
            self._metrics += 1
            tracing.note("metric", {**event.values, "step": event.step})
            self.experiment = replace(self.experiment, progress=max(event.progress, self.experiment.progress))
            if self._metrics > self._most_metrics:
                self._dropped += 1
            elif self._metrics > self._known_metrics:
                self._add("metric", body(step=event.step, values=dict(event.values)))
        elif isinstance(event, LogEvent):
            self._log_lines += 1
            if self._log_lines > MOST_LOG_LINES:
                self._dropped += 1
            elif self._log_lines > self._known_lines:
                self._add("log", body(stream=event.stream, text=event.text))

    def close(self) -> None:
        """Commits what is pending and lets watchers find the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._commit()

    def _add(self, kind: str, text: str) -> None:
        self._sequence += 1
        self._pending.append(StoredEvent(self._sequence, self._now(), kind, text))
        self.experiment = replace(self.experiment, last_sequence=self._sequence)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COMMIT_SECONDS, self._commit)

    def _commit(self) -> None:
        self._timer = None
        if self._pending:
            try:
                self._journal.append(self.experiment.experiment_id, self._pending)
            except ResourceExhaustedError:  # a full disk: what cannot be written is not shown either
                self._dropped += len(self._pending)
                self._sequence -= len(self._pending)
            self._pending = []
        self._wake()

    def _wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
