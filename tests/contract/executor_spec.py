"""What every executor of the trainer must do; see trainer/executor.py."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.errors import FailedPreconditionError
from trainer.executor import EndEvent, Executor, Job, LogEvent, MetricEvent, PhaseEvent, RunEvent
from trainer.experiment import Budget, ExperimentRequest, Failure, Origin, Result, SeedGrant, State


@dataclass(frozen=True)
class Subject:
    """An executor under test, sources that suit it, and how many of its processes live."""

    executor: Executor
    folder: Path
    preset: str
    good_source: str
    endless_source: str
    budget: Budget
    living: Callable[[], int]


def make_job(subject: Subject, source: str, name: str, seed: int = 1, **changes: object) -> Job:
    request = ExperimentRequest(
        experiment_id=name,
        source_hash=hashlib.sha256(source.encode()).hexdigest(),
        seed=SeedGrant(seed),
        budget=subject.budget,
        data_hash="",
        preset=subject.preset,
        origin=Origin.USER,
        **changes,  # type: ignore[arg-type]
    )
    folder = subject.folder / name
    folder.mkdir(parents=True)
    return Job(request, source, folder, ())


async def run_job(subject: Subject, job: Job) -> list[RunEvent]:
    executor = subject.executor
    data_hash = await executor.check(job.request)
    devices = (await executor.capabilities()).devices[:1]
    request = ExperimentRequest(**{**vars(job.request), "data_hash": data_hash})
    async with aclosing(executor.run(Job(request, job.source, job.folder, devices))) as events:  # type: ignore[type-var]
        return [event async for event in events]


def end_of(events: list[RunEvent]) -> Result:
    assert isinstance(events[-1], EndEvent)
    assert not any(isinstance(event, EndEvent) for event in events[:-1])
    return events[-1].result


class ExecutorSpec:
    """Inherit and give a `subject` fixture."""

    async def test_a_good_source_is_trained_and_scored(self, subject: Subject) -> None:
        events = await run_job(subject, make_job(subject, subject.good_source, "good"))
        result = end_of(events)
        assert result.failure is None, result.failure_message
        assert result.val_bpb is not None
        assert 0.5 < result.val_bpb < 10
        assert result.num_steps > 0
        assert result.tokens > 0
        states = [event.state for event in events if isinstance(event, PhaseEvent)]
        assert states[-2:] == [State.TRAINING, State.EVALUATING]
        steps = [event.step for event in events if isinstance(event, MetricEvent)]
        assert steps == sorted(steps)
        assert len(steps) > 1
        progress = [event.progress for event in events if isinstance(event, MetricEvent)]
        assert progress == sorted(progress)
        assert all(0 <= value <= 1 for value in progress)

    async def test_a_syntax_error_is_a_result(self, subject: Subject) -> None:
        result = end_of(await run_job(subject, make_job(subject, "def broken(:\n", "broken")))
        assert result.failure is Failure.SYNTAX_ERROR
        assert result.val_bpb is None
        assert "line 1" in result.failure_message
        assert "\n" not in result.failure_message

    async def test_leaving_early_ends_everything(self, subject: Subject) -> None:
        job = make_job(subject, subject.endless_source, "endless")
        capabilities = await subject.executor.capabilities()
        data_hash = await subject.executor.check(job.request)
        request = ExperimentRequest(**{**vars(job.request), "data_hash": data_hash})
        job = Job(request, job.source, job.folder, capabilities.devices[:1])
        before = subject.living()
        async with aclosing(subject.executor.run(job)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, MetricEvent | LogEvent):
                    break
        assert subject.living() == before

    async def test_cancelling_the_task_ends_everything(self, subject: Subject) -> None:
        before = subject.living()
        task = asyncio.create_task(run_job(subject, make_job(subject, subject.endless_source, "cancelled")))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert subject.living() == before

    async def test_an_unknown_device_class_is_refused(self, subject: Subject) -> None:
        job = make_job(subject, subject.good_source, "elsewhere", device_class="no-such-device")
        with pytest.raises(FailedPreconditionError) as caught:
            await subject.executor.check(job.request)
        assert caught.value.reason == "DEVICE_CLASS_MISMATCH"

    async def test_what_cannot_be_adopted_is_removed_twice_without_harm(self, subject: Subject) -> None:
        (subject.folder / "left" / "scratch").mkdir(parents=True)
        for _ in range(2):
            assert not await subject.executor.recover(subject.folder / "left", adopt=True)
