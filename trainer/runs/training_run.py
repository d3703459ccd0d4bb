"""The training process of one experiment: sandboxed, timed by the daemon's clock, read to its end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.data.dataset import Dataset
from trainer.executor import Job
from trainer.experiment import Audit, Failure, Finding
from trainer.harness.run_spec import EVENTS_VARIABLE, RUN_VARIABLE, RunSpec
from trainer.harness.run_spec import Budget as SpecBudget
from trainer.runs.device_memory_cap import DeviceMemory, exceed, visible_names
from trainer.runs.events import EventReader, TrainingRecord
from trainer.runs.folder import RunFolder
from trainer.runs.output import OutputCollector
from trainer.runs.piped import PipedProcess
from trainer.runs.recorded import FramedProcess, RecordedProcess, ending_of
from trainer.runs.rules import classify_ending, time_rules
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan, mask_paths
from trainer.sandbox.launch import Ending, has_supervisor
from trainer.sandbox.plan import Limits, Plan, Recording
from trainer.sandbox.recording import BEGIN, EVENTS, EVENTS_FD, LOST, STDERR, STDOUT, Frame, write_owner

if TYPE_CHECKING:
    from trainer.runs.local_run import RunSettings

MOST_FILES = 20_000
LAG_SECONDS = 0.3
LOST_MESSAGE = "the trainer and the run ended together; start it again under a new id"


@dataclass(frozen=True)
class Trained:
    """What is known after training; failure is (reason, one line) where it failed. ended is when the process
    had, setup_cpu the most CPU seconds before training (0: not judged)."""

    record: TrainingRecord
    ending: Ending
    tail: list[str]
    claimed_val_bpb: float | None
    failure: tuple[Failure, str] | None
    audits: list[Audit] = field(default_factory=list)
    ended: float = 0.0
    setup_cpu: float = 0.0


class TrainingRun:
    """Set the three callbacks, then call run() once. leaves() says whether a cancelled run goes on by itself,
    for the next daemon; a job that is adopted is such a run."""

    def __init__(
        self,
        job: Job,
        dataset: Dataset,
        settings: RunSettings,
        folder: RunFolder,
        clock: Callable[[], float],
        leaves: Callable[[], bool],
        device_memory: DeviceMemory | None = None,
    ) -> None:
        self.on_line: Callable[[str, str], None] = lambda stream, text: None
        self.on_metric: Callable[[int, Mapping[str, float], float], None] = lambda step, values, progress: (
            None
        )
        self.on_start: Callable[[], None] = lambda: None
        self.began = clock()
        self._job, self._dataset, self._settings = job, dataset, settings
        self._folder, self._clock, self._leaves = folder, clock, leaves
        self._device_memory = device_memory
        self._gpus = tuple(device.index for device in job.devices if device.kind == "cuda")
        budget, wall = job.request.budget, job.request.wall_limit_seconds
        threads = settings.threads * len(job.devices)
        self._rules = time_rules(budget, bool(self._gpus), settings.setup_seconds, wall, threads)
        self._events = EventReader(self._take_metric, self._take_phase)
        self._phase_changed = asyncio.Event()
        self._overrun = ""
        self._now = 0.0
        self._process: FramedProcess | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def run(self) -> Trained:
        """Raises OSError. Cancelling it returns only when the last process is gone, or left as it is."""
        collector = OutputCollector(
            self._folder.log, self._settings.output_bytes, lambda s, t: self.on_line(s, t), self._output_full
        )
        self._metrics = self._folder.metrics.open("w", encoding="utf-8")
        try:
            self._process = self._adopt() if self._job.adopted else await self._start()
            if self._process is None:
                return Trained(self._events.record, Ending(), [], None, (Failure.INTERRUPTED, LOST_MESSAGE))
            last = await self._follow(self._process, collector)
        finally:
            if self._process is not None and not self._leaves():
                await asyncio.shield(self._process.stop())
            collector.close()
            self._metrics.close()
        return self._judge(last, collector)

    async def _start(self) -> FramedProcess:
        plan_path = self._folder.plan
        if has_supervisor():
            write_owner(str(self._folder.owner))
            self._folder.run_spec.write_text(self._spec(EVENTS_FD).to_json(), encoding="utf-8")
            return RecordedProcess.start(self._plan(EVENTS_FD), plan_path)
        events_fds = os.pipe()
        self._folder.run_spec.write_text(self._spec(events_fds[1]).to_json(), encoding="utf-8")
        return await PipedProcess.start(self._plan(events_fds[1]), plan_path, events_fds)

    def _adopt(self) -> FramedProcess | None:
        write_owner(str(self._folder.owner))
        return RecordedProcess.find(self._folder.record)

    async def _follow(self, process: FramedProcess, collector: OutputCollector) -> Frame:
        """The last frame."""
        clerk = asyncio.create_task(self._keep_time(process.caught_up))
        watch = asyncio.create_task(self._keep_device_memory())
        try:
            async with aclosing(process.frames()) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    self._now = frame.time
                    if frame.kind == EVENTS:
                        self._events.feed(frame.data, frame.time, frame.cpu_seconds)
                    elif frame.kind in (STDOUT, STDERR):
                        collector.feed(frame.kind, frame.data)
                    elif frame.kind == BEGIN:
                        self.began = frame.time
            collector.finish()
            return frame
        finally:
            clerk.cancel()
            watch.cancel()
            await asyncio.wait([clerk, watch])

    def _judge(self, last: Frame, collector: OutputCollector) -> Trained:
        record, ending = self._events.record, ending_of(last)
        tail = list(collector.tail)
        budget = self._job.request.budget
        overrun = self._overrun or self._rules.overrun(self.began, record, last.time, budget)
        failure = classify_ending(ending, record, overrun, tail)
        if last.kind == LOST and self._job.adopted:
            failure = (Failure.INTERRUPTED, LOST_MESSAGE)
        audits = []
        if self._rules.setup_cpu and record.start_time is not None:
            passed = record.cpu_before_start <= self._rules.setup_cpu
            finding = None if passed else Finding.BUDGET_EXCEEDED
            audits.append(Audit("work-before-start", passed, finding=finding))
        claimed, bound = collector.claimed_val_bpb, self._rules.setup_cpu
        return Trained(record, ending, tail, claimed, failure, audits, last.time, bound)

    async def _keep_time(self, caught_up: asyncio.Event) -> None:
        """Ends the process when a phase lasts longer than its rule."""
        await caught_up.wait()
        while True:
            self._phase_changed.clear()
            name, deadline = self._rules.deadline(self.began, self._events.record, self._job.request.budget)
            # A little later, since an event may have been recorded and not yet read.
            left = max(deadline - self._clock(), 0.0) + LAG_SECONDS
            try:
                await asyncio.wait_for(self._phase_changed.wait(), left)
            except TimeoutError:
                self._stop(name)
                return

    async def _keep_device_memory(self) -> None:
        limit, memory = self._settings.device_memory_bytes, self._device_memory
        if limit and memory is not None and self._gpus:
            await exceed(memory, visible_names(self._gpus), limit)
            self._stop("device")

    def _stop(self, overrun: str) -> None:
        if self._process is not None and self._stopping is None:
            self._overrun = overrun
            self._stopping = asyncio.create_task(self._process.stop())

    def _output_full(self) -> None:
        self._stop("output")

    def _take_phase(self, name: str) -> None:
        if name == "start":
            self.on_start()
        self._phase_changed.set()

    def _take_metric(self, step: int, values: Mapping[str, float]) -> None:
        record, budget = self._events.record, self._job.request.budget
        progress = values.get("progress", 0.0)
        if budget.kind == "tokens" and record.step_tokens > 0:
            progress = (step + 1) * record.step_tokens / budget.amount
        elif budget.kind == "time" and record.start_time is not None:
            progress = (self._now - record.start_time) / budget.amount
        self._metrics.write(json.dumps({"step": step, **values}) + "\n")
        self.on_metric(step, values, min(max(progress, 0.0), 1.0))

    def _spec(self, events_fd: int) -> RunSpec:
        request = self._job.request
        return RunSpec(
            experiment_id=request.experiment_id,
            seed=request.seed.value,
            budget=SpecBudget(request.budget.kind, request.budget.amount),
            data_dir=str(self._dataset.train_folder),
            out_dir=str(self._folder.out),
            device=self._job.devices[0].kind,
            threads=self._settings.threads,
            wall_limit_seconds=self._rules.wall,
            events_fd=events_fd,
        )

    def _plan(self, events_fd: int) -> Plan:
        settings = self._settings
        limits = Limits(
            memory_bytes=settings.memory_bytes,
            processes=settings.processes,
            file_bytes=settings.scratch_bytes,
            scratch_bytes=settings.scratch_bytes,
            scratch_files=MOST_FILES,
            wall_seconds=self._rules.wall,
        )
        files = CandidateFiles(
            read=(self._folder.source, self._folder.run_spec, self._dataset.train_folder),
            write=(self._folder.out,),
            masked=mask_paths(self._dataset.manifest.origin_files),
        )
        recording = Recording(
            path=str(self._folder.record),
            owner=str(self._folder.owner),
            orphan_seconds=settings.orphan_seconds,
            output_bytes=settings.output_bytes,
        )
        return candidate_plan(
            ["-m", "trainer.harness.launch", str(self._folder.source)],
            files,
            tier=settings.tier.value,
            scratch=Path(self._folder.scratch),
            environment={RUN_VARIABLE: str(self._folder.run_spec), EVENTS_VARIABLE: str(events_fd)},
            limits=limits,
            keep_fds=(events_fd,),
            gpus=self._gpus,
            threads=settings.threads,
            container=settings.container,
            recording=recording if has_supervisor() else None,
            ranks=len(self._job.devices),
        )
