"""The training process of one experiment: sandboxed, timed by the daemon's clock, read to its end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.data.dataset import Dataset
from trainer.executor import Job
from trainer.experiment import Audit, Failure, Finding
from trainer.harness.run_spec import EVENTS_VARIABLE, RUN_VARIABLE, RunSpec
from trainer.harness.run_spec import Budget as SpecBudget
from trainer.run_events import EventReader, TrainingRecord
from trainer.run_folder import RunFolder
from trainer.run_output import OutputCollector
from trainer.run_rules import classify_ending, time_rules
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan, mask_paths
from trainer.sandbox.launch import Ending
from trainer.sandbox.plan import Limits, Plan
from trainer.sandbox.usage import cpu_seconds
from trainer.supervised import SupervisedProcess

if TYPE_CHECKING:
    from trainer.local_run import RunSettings

MOST_FILES = 20_000
READERS_SECONDS = 10.0


@dataclass(frozen=True)
class Trained:
    """What is known after training; failure is (reason, one line) where it failed."""

    record: TrainingRecord
    ending: Ending
    tail: list[str]
    claimed_val_bpb: float | None
    failure: tuple[Failure, str] | None
    audits: list[Audit] = field(default_factory=list)


class TrainingRun:
    """Set the three callbacks, then call run() once."""

    def __init__(
        self, job: Job, dataset: Dataset, settings: RunSettings, folder: RunFolder, clock: Callable[[], float]
    ) -> None:
        self.on_line: Callable[[str, str], None] = lambda stream, text: None
        self.on_metric: Callable[[int, Mapping[str, float], float], None] = lambda step, values, progress: (
            None
        )
        self.on_start: Callable[[], None] = lambda: None
        self._job, self._dataset, self._settings = job, dataset, settings
        self._folder, self._clock = folder, clock
        self._gpus = tuple(device.index for device in job.devices if device.kind == "cuda")
        budget, wall = job.request.budget, job.request.wall_limit_seconds
        self._rules = time_rules(budget, bool(self._gpus), settings.setup_seconds, wall, settings.threads)
        self._events = EventReader(clock, self._take_metric, self._take_phase)
        self._phase_changed = asyncio.Event()
        self._overrun = ""
        self._process: SupervisedProcess | None = None
        self._stopping: asyncio.Task[Ending] | None = None

    async def run(self) -> Trained:
        """Raises OSError. Cancelling it returns only when the last process is gone."""
        read_fd, write_fd = os.pipe()
        collector = OutputCollector(
            self._folder.log, self._settings.output_bytes, lambda s, t: self.on_line(s, t), self._output_full
        )
        self._metrics = self._folder.metrics.open("w", encoding="utf-8")
        process: SupervisedProcess | None = None
        try:
            self._folder.run_spec.write_text(self._spec(write_fd).to_json(), encoding="utf-8")
            try:
                process = await SupervisedProcess.start(self._plan(write_fd), self._folder.root / "plan.json")
            finally:
                os.close(write_fd)
            self._process = process
            readers = [
                asyncio.create_task(collector.read("stdout", process.stdout)),
                asyncio.create_task(collector.read("stderr", process.stderr)),
                asyncio.create_task(self._events.read(read_fd)),
            ]
            clerk = asyncio.create_task(self._keep_time())
            try:
                ending = await process.wait()
                await asyncio.wait(readers, timeout=READERS_SECONDS)
            finally:
                for task in (clerk, *readers):
                    task.cancel()
                await asyncio.wait([clerk, *readers])
        finally:
            if process is not None:
                await asyncio.shield(process.stop())
            collector.close()
            self._metrics.close()
        return self._judge(ending, collector)

    def _judge(self, ending: Ending, collector: OutputCollector) -> Trained:
        record = self._events.record
        tail = list(collector.tail)
        failure = classify_ending(ending, record, self._overrun, tail)
        audits = []
        if self._rules.setup_cpu and record.start_time is not None:
            passed = record.cpu_before_start <= self._rules.setup_cpu
            finding = None if passed else Finding.BUDGET_EXCEEDED
            audits.append(Audit("work-before-start", passed, finding=finding))
        return Trained(record, ending, tail, collector.claimed_val_bpb, failure, audits)

    async def _keep_time(self) -> None:
        """Ends the process when a phase lasts longer than its rule."""
        budget = self._job.request.budget
        phases = (
            ("setup", self._rules.setup),
            ("training", self._rules.training_limit(budget)),
            ("finish", self._rules.finish),
        )
        for name, limit in phases:
            self._phase_changed.clear()
            try:
                await asyncio.wait_for(self._phase_changed.wait(), limit)
            except TimeoutError:
                self._stop(name)
                return

    def _stop(self, overrun: str) -> None:
        if self._process is not None and self._stopping is None:
            self._overrun = overrun
            self._stopping = asyncio.create_task(self._process.stop())

    def _output_full(self) -> None:
        self._stop("output")

    def _take_phase(self, name: str) -> None:
        assert self._process is not None
        if name == "start":
            self._events.record.cpu_before_start = cpu_seconds(self._process.pid)
            self.on_start()
        else:
            self._events.record.cpu_at_end = cpu_seconds(self._process.pid)
        self._phase_changed.set()

    def _take_metric(self, step: int, values: Mapping[str, float]) -> None:
        record, budget = self._events.record, self._job.request.budget
        progress = values.get("progress", 0.0)
        if budget.kind == "tokens" and record.step_tokens > 0:
            progress = (step + 1) * record.step_tokens / budget.amount
        elif budget.kind == "time" and record.start_time is not None:
            progress = (self._clock() - record.start_time) / budget.amount
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
        )
