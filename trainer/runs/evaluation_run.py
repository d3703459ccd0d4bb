"""Has a checkpoint scored by the sealed evaluator, a process of its own."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from trainer.data.dataset import Dataset
from trainer.evaluate import Report
from trainer.evaluation.job import EvaluationJob, Obstacle
from trainer.executor import Job
from trainer.experiment import Failure
from trainer.presets import PRESETS
from trainer.runs.device_memory_cap import visible_names
from trainer.runs.events import TrainingRecord
from trainer.runs.folder import RunFolder
from trainer.runs.output import OutputCollector
from trainer.runs.rules import LIMIT_MESSAGES
from trainer.runs.supervised import SupervisedProcess, read_whole
from trainer.sandbox.candidate_plan import mask_paths, trusted_environment
from trainer.sandbox.launch import Ending
from trainer.sandbox.plan import Limits, Plan

if TYPE_CHECKING:
    from trainer.runs.local_run import RunSettings

LARGEST_REPORT = 1 << 20
_REPORT = TypeAdapter(Report)
_OBSTACLE = TypeAdapter(Obstacle)


class EvaluationRun:
    """One evaluation; set on_line before score()."""

    def __init__(self, job: Job, dataset: Dataset, settings: RunSettings, folder: RunFolder) -> None:
        self.on_line: Callable[[str], None] = lambda text: None
        self._job, self._dataset, self._settings, self._folder = job, dataset, settings, folder

    async def score(self, record: TrainingRecord) -> tuple[Report | None, tuple[Failure, str]]:
        """The report, or None and why there is none. Cancelling it ends all processes first. Raises OSError
        where this process cannot write."""
        job_path = self._folder.evaluation / "job.json"
        job_path.write_text(self._evaluation_job(record).to_json(), encoding="utf-8")
        process = await SupervisedProcess.start(
            self._plan(str(job_path)), self._folder.root / "evaluator-plan.json"
        )
        collector = OutputCollector(
            self._folder.evaluation / "log.txt",
            self._settings.output_bytes,
            lambda stream, text: self.on_line(text),
            lambda: None,
        )
        try:
            reading = asyncio.create_task(collector.read("stderr", process.stderr))
            output = await read_whole(process.stdout, LARGEST_REPORT)
            ending = await process.wait()
            if reading in (await asyncio.wait([reading], timeout=5))[0]:
                reading.result()
        finally:
            await asyncio.shield(process.stop())
            collector.close()
        return self._read(output, ending, list(collector.tail))

    def _read(
        self, output: bytes, ending: Ending, tail: list[str]
    ) -> tuple[Report | None, tuple[Failure, str]]:
        try:
            fields = json.loads(output.decode().strip().splitlines()[-1])
            if (kind := fields.pop("type")) == "report":
                return _REPORT.validate_python(fields), (Failure.INTERNAL, "")
            if kind == "obstacle":
                obstacle = _OBSTACLE.validate_python(fields)
                return None, (obstacle.failure, obstacle.message)
        except (ValueError, IndexError, KeyError, AttributeError):
            pass
        if ending.limit == "wall":
            return None, (Failure.TIMEOUT, "the evaluation took longer than its limit")
        if ending.limit in LIMIT_MESSAGES:
            return None, (Failure.OUT_OF_HOST_MEMORY, "the evaluation used more than its cap")
        if ending.signal:
            return None, (Failure.KILLED, f"the evaluator was killed by signal {ending.signal}")
        if ending.error:
            return None, (Failure.INTERNAL, f"the evaluator could not be started: {ending.error}")
        last = tail[-1] if tail else f"code {ending.code}"
        return None, (Failure.INTERNAL, f"the evaluator ended without a report: {last}")

    def _evaluation_job(self, record: TrainingRecord) -> EvaluationJob:
        job, settings, preset = self._job, self._settings, PRESETS[self._job.request.preset]
        length = self._dataset.manifest.context_length
        single = len(job.devices) == 1
        return EvaluationJob(
            train_py=str(self._folder.source),
            checkpoint=str(self._folder.checkpoint),
            dataset=str(self._dataset.folder),
            work=str(self._folder.evaluation),
            tier=settings.tier.value,
            device=job.devices[0].kind,
            gpus=(0,) if job.devices[0].kind == "cuda" else (),  # the only one that it can see
            threads=settings.threads,
            batch_rows=preset.eval_batch_rows,
            validation_tokens=preset.validation_tokens,
            audit_seed=secrets.randbits(63),
            answer_seconds=min(300.0, settings.evaluation_seconds),
            memory_bytes=settings.memory_bytes,
            processes=settings.processes,
            container=settings.container,
            train_seed=job.request.seed.value,
            tokens_checksum=-1 if record.checksum is None else record.checksum,
            rows_consumed=record.tokens // length if single else 0,
            masked=mask_paths(self._dataset.manifest.origin_files),
        )

    def _plan(self, job_path: str) -> Plan:
        settings = self._settings
        folder = self._folder.evaluation
        environment = trusted_environment(folder, settings.threads)
        first = [device.index for device in self._job.devices if device.kind == "cuda"][:1]
        environment |= {"CUDA_VISIBLE_DEVICES": ",".join(visible_names(first))}
        return Plan(
            command=(sys.executable, "-P", "-B", "-m", "trainer.evaluate", "--job", job_path),
            environment=environment,
            folder=str(folder),
            limits=Limits(wall_seconds=settings.evaluation_seconds),
        )
