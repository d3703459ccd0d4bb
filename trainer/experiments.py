"""The life of experiments: start, queue, lease, run, watch, cancel; every step journalled before it shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Self

from services import logs, tracing
from services.errors import AlreadyExistsError, NotFoundError, ResourceExhaustedError, ServiceError
from trainer.executor import DeviceInfo, EndEvent, Executor, Job
from trainer.experiment import Experiment, ExperimentRequest, Failure, Result, State
from trainer.journal import Journal, StoredEvent
from trainer.leasing import next_lease
from trainer.runs.live_run import LiveRun, result_of_error

EVENTS_PER_READ = 200
FULL_DISK_SECONDS = 2.0  # between attempts to write an end
log = logging.getLogger(__name__)


class Experiments(AbstractAsyncContextManager["Experiments"]):
    """All experiments of one daemon. Entering adopts what an earlier daemon left running, closes what cannot
    be adopted (INTERRUPTED) and queues again what it had not begun. Leaving ends what runs, or with hand_over
    leaves it to the next daemon where the executor can; the queue stays in the journal."""

    def __init__(
        self,
        journal: Journal,
        executor: Executor,
        runs: Path,
        *,
        queue_capacity: int,
        now: Callable[[], float],
        hand_over: bool = False,
    ) -> None:
        self._journal, self._executor, self._runs = journal, executor, runs
        self._capacity, self._now = queue_capacity, now
        self._live: dict[str, LiveRun] = {}
        self._queue: list[str] = []
        self._free: list[DeviceInfo] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = self._released = False
        self._hand_over = hand_over

    async def __aenter__(self) -> Self:
        capabilities = await self._executor.capabilities()
        self._free = list(capabilities.devices)
        self._tier = capabilities.tier
        for experiment in self._journal.unfinished():
            live = self._open(experiment)
            if experiment.state is State.QUEUED:
                self._queue.append(experiment.experiment_id)
                continue
            if not await self._adopt(live):
                message = "the trainer stopped while the experiment ran; start it again under a new id"
                self._finish(live, State.FAILED, Result(failure=Failure.INTERRUPTED, failure_message=message))
        self._pump()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing = True
        self._released = self._hand_over and await self._executor.release()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for live in self._live.values():
            live.close()

    def folder(self, experiment_id: str) -> Path:
        """Where an experiment keeps its files."""
        return self._runs / experiment_id

    @property
    def running_count(self) -> int:
        return len(self._tasks)

    @property
    def queued_count(self) -> int:
        return len(self._queue)

    @property
    def leased(self) -> set[int]:
        """Indices of the devices that are in use."""
        return {device.index for live in self._live.values() for device in live.devices}

    async def start(self, request: ExperimentRequest, source: str, content_hash: str) -> Experiment:
        """Queues a new experiment, or returns the one with this id and content. Raises AlreadyExistsError
        (EXPERIMENT_CONFLICT), ResourceExhaustedError (QUEUE_FULL) and what Executor.check raises."""
        if known := self._known(request.experiment_id, content_hash):
            return known
        data_hash = await self._executor.check(request)
        if known := self._known(request.experiment_id, content_hash):  # another call may have come first
            return known
        if len(self._queue) >= self._capacity:
            raise ResourceExhaustedError(
                f"the queue is full with {self._capacity} experiments; wait for some to end",
                reason="QUEUE_FULL",
                retry_after=10.0,
            )
        request = replace(request, data_hash=data_hash)
        experiment = Experiment(request, create_time=self._now(), tier=self._tier)
        self._journal.add(experiment, content_hash, source)
        self._enqueue(experiment)
        return self.get(request.experiment_id)

    def get(self, experiment_id: str) -> Experiment:
        """Raises NotFoundError (EXPERIMENT_NOT_FOUND)."""
        live = self._live.get(experiment_id)
        if live is not None:
            return self._with_position(live.experiment)
        found = self._journal.find(experiment_id)
        if found is None:
            raise NotFoundError(
                f"there is no experiment {experiment_id!r}",
                reason="EXPERIMENT_NOT_FOUND",
                metadata={"experiment_id": experiment_id},
            )
        return found[0]

    def page(self, before: int, count: int, labels: Mapping[str, str]) -> tuple[list[Experiment], int]:
        """Newest first, with the number to go on from (0: no more)."""
        found: list[Experiment] = []
        while True:
            rows = self._journal.page(before, EVENTS_PER_READ)
            for number, stored in rows:
                before = number
                if labels.items() <= stored.request.labels.items():
                    found.append(self.get(stored.experiment_id))
                    if len(found) == count:
                        return found, before if before > 1 else 0
            if len(rows) < EVENTS_PER_READ:
                return found, 0

    async def watch(self, experiment_id: str, after: int) -> AsyncIterator[StoredEvent]:
        """Events after a sequence number, each once; ends with the experiment. The reader pulls them from
        the journal, so a slow one costs nothing. Raises NotFoundError."""
        self.get(experiment_id)
        while True:
            live = self._live.get(experiment_id)
            changed = live.changed if live is not None else None
            events = self._journal.events(experiment_id, after, EVENTS_PER_READ)
            for event in events:
                yield event
                after = event.sequence
            if len(events) == EVENTS_PER_READ:
                continue
            if changed is None:
                return
            await changed.wait()

    async def cancel(self, experiment_id: str, reason: str) -> Experiment:
        """Returns when the last process is gone. Raises NotFoundError."""
        experiment = self.get(experiment_id)
        live = self._live.get(experiment_id)
        if live is None or experiment.state.is_terminal:
            return experiment
        live.cancel_reason = reason or "cancelled by the client"
        task = self._tasks.get(experiment_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        elif experiment_id in self._queue:
            self._queue.remove(experiment_id)
            self._finish(live, State.CANCELLED, Result(failure_message=live.cancel_reason))
        return self.get(experiment_id)

    def job(self, experiment_id: str) -> Job:
        """The job of a known experiment, without devices. Raises NotFoundError."""
        experiment = self.get(experiment_id)
        return Job(experiment.request, self._journal.source(experiment_id), self.folder(experiment_id), ())

    def _known(self, experiment_id: str, content_hash: str) -> Experiment | None:
        found = self._journal.find(experiment_id)
        if found is None:
            return None
        if found[1] != content_hash:
            raise AlreadyExistsError(
                f"experiment_id {experiment_id!r} was used with other content; choose a new id",
                reason="EXPERIMENT_CONFLICT",
                metadata={"experiment_id": experiment_id},
            )
        if found[0].state is State.QUEUED and experiment_id not in self._live:
            self._enqueue(found[0])  # it was stored, and a full disk kept it from the queue
        return self.get(experiment_id)

    def _enqueue(self, experiment: Experiment) -> None:
        """Raises ResourceExhaustedError, and then holds nothing of it."""
        name = experiment.experiment_id
        try:
            self._open(experiment).change(state=State.QUEUED)
        except ResourceExhaustedError:
            self._live.pop(name).close()
            raise
        self._queue.append(name)
        self._pump()

    def _open(self, experiment: Experiment) -> LiveRun:
        live = LiveRun(experiment, self._journal, self._now)
        self._live[experiment.experiment_id] = live
        return live

    def _with_position(self, experiment: Experiment) -> Experiment:
        if experiment.experiment_id not in self._queue:
            return experiment
        return replace(experiment, queue_position=self._queue.index(experiment.experiment_id) + 1)

    async def _adopt(self, live: LiveRun) -> bool:
        """Takes up what an earlier daemon began, on the devices that it has; False when that cannot be."""
        wanted = live.experiment.devices
        devices = tuple(device for device in self._free if device.index in wanted)
        there = bool(wanted) and len(devices) == len(wanted)
        if not await self._executor.recover(self.folder(live.experiment.experiment_id), adopt=there):
            return False
        self._lease(live, devices, adopted=True)
        return True

    def _lease(self, live: LiveRun, devices: tuple[DeviceInfo, ...], *, adopted: bool) -> None:
        live.devices = devices
        self._free = [device for device in self._free if device not in devices]
        # In the context of the call that started it: logs and spans carry that call's trace id.
        task = asyncio.create_task(self._run(live, adopted=adopted), context=live.context.copy())
        self._tasks[live.experiment.experiment_id] = task

    def _pump(self) -> None:
        """Leases devices to the oldest experiments that can have theirs."""
        while not self._closing:
            requests = [self._live[name].experiment.request for name in self._queue]
            found = next_lease(requests, self._free)
            if found is None:
                return
            place, devices = found
            self._lease(self._live[self._queue.pop(place)], devices, adopted=False)

    async def _run(self, live: LiveRun, *, adopted: bool) -> None:
        logs.experiment_id.set(live.experiment.experiment_id)
        with tracing.span("experiment"):
            await self._follow(live, adopted=adopted)

    async def _follow(self, live: LiveRun, *, adopted: bool) -> None:
        experiment_id = live.experiment.experiment_id
        try:
            job = replace(self.job(experiment_id), devices=live.devices, adopted=adopted)
            job.folder.mkdir(parents=True, exist_ok=True)
            if not adopted:
                indices = tuple(device.index for device in live.devices)
                live.experiment = replace(live.experiment, devices=indices)
                live.change(state=State.STARTING, start_time=self._now())
            async with aclosing(self._executor.run(job)) as events:  # type: ignore[type-var]
                async for event in events:
                    if isinstance(event, EndEvent):
                        failed = event.result.failure is not None
                        self._finish(live, State.FAILED if failed else State.SUCCEEDED, event.result)
                    else:
                        live.apply(event)
        except asyncio.CancelledError:
            self._finish_cancelled(live)
        except (ServiceError, OSError) as error:
            self._finish(live, State.FAILED, result_of_error(error))
        except Exception:
            log.exception("an experiment ended by a defect")
            message = "a defect of the trainer; its log has the traceback"
            self._finish(live, State.FAILED, Result(failure=Failure.INTERNAL, failure_message=message))
        finally:
            self._free = sorted([*self._free, *live.devices], key=lambda device: device.index)
            live.devices = ()
            self._tasks.pop(experiment_id, None)
            self._pump()

    def _finish_cancelled(self, live: LiveRun) -> None:
        if live.experiment.state.is_terminal:
            return
        if live.cancel_reason:
            self._finish(live, State.CANCELLED, Result(failure_message=live.cancel_reason))
            return
        if self._released:
            log.warning("the experiment goes on without this daemon; start trainerd again to adopt it")
            return
        message = "the trainer was stopped while the experiment ran; start it again under a new id"
        self._finish(live, State.FAILED, Result(failure=Failure.INTERRUPTED, failure_message=message))

    def _finish(self, live: LiveRun, state: State, result: Result, ended: float | None = None) -> None:
        """Tries again while the journal's disk is full; a daemon that stops before leaves it to the next."""
        ended = self._now() if ended is None else ended
        try:
            live.change(state=state, end_time=ended, result=result)
        except ResourceExhaustedError as error:
            if not self._closing:
                log.warning("the end of an experiment waits to be written", extra={"why": error.message})
                later = asyncio.get_running_loop().call_later
                later(FULL_DISK_SECONDS, self._finish, live, state, result, ended)
                return
        self._live.pop(live.experiment.experiment_id, None)
        live.close()
