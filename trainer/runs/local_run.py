"""One experiment on this machine: train in the sandbox, take the checkpoint, have it scored, report."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.data.dataset import Dataset
from trainer.devices import torch_version
from trainer.estimate import TooLargeError, refuse_too_large
from trainer.evaluate import Report
from trainer.executor import EndEvent, Job, LogEvent, MetricEvent, PhaseEvent, RunEvent
from trainer.experiment import Audit, Evaluation, Failure, Finding, Result, State, Tier
from trainer.runs.artifacts import add_tokenizer, hash_artifacts
from trainer.runs.checkpoint_check import BadCheckpointError, CheckedCheckpoint, take_checkpoint
from trainer.runs.compile_cache import add_to_cache, cache_folder, copy_cache, is_template
from trainer.runs.device_memory_cap import open_device_memory
from trainer.runs.evaluation_run import EvaluationRun
from trainer.runs.folder import RunFolder
from trainer.runs.output import printable
from trainer.runs.recorded import RecordedProcess
from trainer.runs.rules import check_finish, check_overhead, check_training, check_work
from trainer.runs.training_run import Trained, TrainingRun
from trainer.sandbox.candidate_plan import mask_paths
from trainer.sandbox.container import remove_containers_below
from trainer.templates import TRAIN_PY

log = logging.getLogger(__name__)
WORK_MESSAGES: dict[tuple[str, Finding | None], str] = {
    ("work", Finding.UNTRAINED): "the steps that it reports take more computing than the run did",
    ("work", Finding.BUDGET_EXCEEDED): "the run did far more computing than the steps that it reports take",
    ("work-before-start", Finding.BUDGET_EXCEEDED): "it computed too much before training began",
    ("work-after-end", Finding.BUDGET_EXCEEDED): "it computed too much after training had ended",
}


@dataclass(frozen=True)
class RunSettings:
    """What the daemon's settings say about every run. Sizes in bytes, times in seconds, 0 for defaults."""

    tier: Tier
    threads: int
    memory_bytes: int
    scratch_bytes: int
    processes: int
    output_bytes: int
    setup_seconds: float
    evaluation_seconds: float
    container: tuple[str, str] = ("", "")
    orphan_seconds: float = 0.0
    device_memory_bytes: int = 0
    compile_cache: str = ""


class LocalRun:
    """Runs a job once. Leaving `events` early ends all its processes first, unless leaves() says that the
    training goes on without this daemon."""

    def __init__(
        self,
        job: Job,
        dataset: Dataset,
        settings: RunSettings,
        leaves: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._dataset, self._settings, self._clock = job, dataset, settings, clock
        self._leaves, self._ended = leaves, False
        self._folder = RunFolder(job.folder)
        self._queue: asyncio.Queue[RunEvent | BaseException] = asyncio.Queue()
        self._started = clock()

    async def events(self) -> AsyncIterator[RunEvent]:
        """All events of the run, an EndEvent last. Raises OSError (a full disk, …)."""
        worker = asyncio.create_task(self._work())
        try:
            while True:
                event = await self._queue.get()
                if isinstance(event, BaseException):
                    raise event
                self._ended = isinstance(event, EndEvent)
                yield event
                if self._ended:
                    return
        finally:
            worker.cancel()
            await asyncio.wait([worker])
            if self._ended or not self._leaves():
                await self._clean_up()

    async def _find_masks(self) -> None:
        """What takes long of it is kept, and found in no one's way."""
        await asyncio.to_thread(mask_paths, self._dataset.manifest.origin_files)

    async def _clean_up(self) -> None:
        if self._job.adopted and not self._ended and (left := RecordedProcess.find(self._folder.record)):
            await left.stop()  # cancelled before it was taken up
        if self._settings.tier is Tier.CONTAINER:
            engine = self._settings.container[1]
            await asyncio.to_thread(remove_containers_below, str(self._job.folder), engine)
        await asyncio.to_thread(self._folder.tidy, keep_checkpoint=self._keeps_checkpoint)

    @property
    def _keeps_checkpoint(self) -> bool:
        return self._job.request.keep_checkpoint

    async def _work(self) -> None:
        try:
            result = await self._train_and_score()
            # It may quote what a candidate wrote, at any length.
            result = replace(result, failure_message=printable(result.failure_message))
            total = self._clock() - self._started
            if result.failure is not None or not self._keeps_checkpoint:
                await asyncio.to_thread(self._folder.tidy, keep_checkpoint=False)
            else:
                tokenizer = self._dataset.tokenizer_folder
                await asyncio.to_thread(add_tokenizer, self._folder.checkpoint, tokenizer)
            artifacts = await asyncio.to_thread(hash_artifacts, self._folder.root)
            self._queue.put_nowait(EndEvent(replace(result, total_seconds=total, artifacts=artifacts)))
        except Exception as error:
            self._queue.put_nowait(error)

    async def _train_and_score(self) -> Result:
        job = self._job
        if job.adopted:
            await asyncio.to_thread(self._folder.renew_evaluation)
        else:
            await asyncio.to_thread(self._folder.create, job.source)
            if misfit := await asyncio.to_thread(self._misfit):
                on_gpu = job.devices[0].kind == "cuda"
                failure = Failure.OUT_OF_DEVICE_MEMORY if on_gpu else Failure.OUT_OF_HOST_MEMORY
                return Result(failure=failure, failure_message=misfit)
            if self._settings.compile_cache:
                await asyncio.to_thread(copy_cache, self._shared_cache, self._folder.compile_cache)
            await self._find_masks()
        self._phase(State.STARTING)
        training = TrainingRun(
            job,
            self._dataset,
            self._settings,
            self._folder,
            self._clock,
            self._leaves,
            open_device_memory() if self._settings.device_memory_bytes else None,
        )
        training.on_line = lambda stream, text: self._queue.put_nowait(LogEvent(stream, text))
        training.on_metric = lambda step, values, progress: self._queue.put_nowait(
            MetricEvent(step, values, progress)
        )
        training.on_start = lambda: self._phase(State.TRAINING)
        trained = await training.run()
        self._started = min(self._started, training.began)
        result = self._describe(trained)
        if trained.failure is not None:
            failure, message = trained.failure
            return replace(result, failure=failure, failure_message=message)
        try:
            checkpoint = await asyncio.to_thread(
                take_checkpoint, self._folder.out, self._folder.checkpoint, self._settings.scratch_bytes
            )
        except BadCheckpointError as error:
            return replace(result, failure=Failure.BAD_CHECKPOINT, failure_message=str(error))
        result = _with_facts(result, checkpoint)
        record, row_tokens = trained.record, self._dataset.manifest.context_length
        audits = [
            *trained.audits,
            *check_training(record, checkpoint.facts, job.request.budget, row_tokens),
        ]
        if not trained.setup_cpu:
            audits.append(check_finish(record, trained.ended, checkpoint.weights_bytes))
        if failed := next((audit for audit in audits if not audit.passed), None):
            return _refused(result, failed, Evaluation(0, 0, 0.0, 0.0, tuple(audits)), "")
        self._phase(State.EVALUATING, progress=1.0)
        return await self._score(result, trained, audits, checkpoint.weights_bytes)

    async def _score(
        self, result: Result, trained: Trained, audits: list[Audit], weights_bytes: int
    ) -> Result:
        await self._find_masks()  # anew only in a daemon that adopted the run
        run = EvaluationRun(self._job, self._dataset, self._settings, self._folder)
        run.on_line = lambda text: self._queue.put_nowait(LogEvent("stderr", text))
        report, problem = await run.score(trained.record)
        if report is None:
            failure, message = problem
            return replace(result, failure=failure, failure_message=message)
        if self._job.devices[0].kind == "cpu":
            audits = self._judge_work(trained, audits, report, weights_bytes)
        evaluation = replace(report.evaluation, audits=(*audits, *report.evaluation.audits))
        result = replace(result, evaluation=evaluation, tokenizer_hash=report.tokenizer_hash)
        if report.finding is not None:
            failed = Audit("", False, finding=report.finding)
            return _refused(result, failed, evaluation, report.message)
        if failed_work := next((audit for audit in audits if not audit.passed), None):
            return _refused(
                result, failed_work, evaluation, WORK_MESSAGES[failed_work.name, failed_work.finding]
            )
        if self._settings.compile_cache and is_template(self._job.source, TRAIN_PY.read_text("utf-8")):
            try:
                await asyncio.to_thread(add_to_cache, self._shared_cache, self._folder.compile_cache)
            except OSError as error:  # the score stands all the same
                log.warning("the compile cache could not be added to", extra={"why": str(error)})
        return replace(result, val_bpb=report.val_bpb, val_bpb_legacy=report.val_bpb_legacy)

    def _judge_work(
        self, trained: Trained, audits: list[Audit], report: Report, weights_bytes: int
    ) -> list[Audit]:
        """The audits with those of computing, by what the evaluator has measured this machine to need."""
        record, scored = trained.record, report.evaluation.token_count
        budget, threads = self._job.request.budget, self._settings.threads
        work = [check_work(record, report.forward_cpu_seconds, scored, budget, threads)]
        if report.start_cpu_seconds and trained.setup_cpu:
            cpu = trained.ending.cpu_seconds
            work += check_overhead(record, cpu, report.start_cpu_seconds, weights_bytes, trained.setup_cpu)
        known = {audit.name for audit in work}
        return [*(audit for audit in audits if audit.name not in known), *work]

    @property
    def _shared_cache(self) -> Path:
        device_class = self._job.devices[0].device_class
        return cache_folder(Path(self._settings.compile_cache), torch_version(), device_class)

    def _misfit(self) -> str:
        """Why the run clearly cannot fit its device; empty when it may."""
        device, manifest = self._job.devices[0], self._dataset.manifest
        memory = device.memory_bytes if device.kind == "cuda" else self._settings.memory_bytes
        shape = (manifest.vocab_size, manifest.context_length)
        try:
            refuse_too_large(self._job.source, *shape, device.kind, memory)
        except TooLargeError as error:
            return str(error)
        return ""

    def _describe(self, trained: Trained) -> Result:
        record, device = trained.record, self._job.devices[0]
        seconds = (record.end_time or self._clock()) - record.start_time if record.start_time else 0.0
        return Result(
            claimed_val_bpb=trained.claimed_val_bpb,
            initial_loss=record.initial_loss,
            final_loss=record.final_loss,
            training_seconds=seconds,
            num_steps=record.num_steps,
            tokens=record.tokens,
            peak_memory_bytes=trained.ending.peak_memory_bytes,
            device=device.name,
            device_class=device.device_class,
            vocabulary_size=self._dataset.manifest.vocab_size,
            data_hash=self._dataset.manifest.data_hash,
            tokenizer_hash=self._dataset.manifest.tokenizer_sha256,
            tokens_checksum="" if record.checksum is None else f"{record.checksum:08x}",
            validation_hidden=self._settings.tier is not Tier.NONE,
            log_tail=tuple(trained.tail),
        )

    def _phase(self, state: State, progress: float = 0.0) -> None:
        self._queue.put_nowait(PhaseEvent(state, self._settings.tier, progress))


def _with_facts(result: Result, checkpoint: CheckedCheckpoint) -> Result:
    """Adds what only the candidate knows; none of it decides anything."""
    facts = checkpoint.facts
    mfu = facts.get("mfu")
    peak = None if result.device_class == "cpu" else facts.get("peak_memory_bytes")  # there it was measured
    depth = facts.get("depth")
    return replace(
        result,
        weights_hash=checkpoint.weights_hash,
        num_parameters=checkpoint.num_parameters,
        depth=depth if isinstance(depth, int) and 0 <= depth < 2**31 else 0,
        attention=printable(str(facts.get("attention", "")))[:40],
        mfu_percent=100.0 * mfu if isinstance(mfu, float) and 0.0 <= mfu <= 1.0 else None,
        peak_memory_bytes=peak if isinstance(peak, int) and 0 <= peak < 2**60 else result.peak_memory_bytes,
    )


def _refused(result: Result, failed: Audit, evaluation: Evaluation, message: str) -> Result:
    finding = failed.finding or Finding.NO_ANSWER
    bad_checkpoint = finding is Finding.BAD_CHECKPOINT
    text = message or f"audit {failed.name} failed"
    return replace(
        result,
        evaluation=evaluation,
        failure=Failure.BAD_CHECKPOINT if bad_checkpoint else Failure.AUDIT_FAILED,
        failure_message=f"{finding}: {text}",
    )
