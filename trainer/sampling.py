"""Text from a kept checkpoint, drawn by a process of its own (trainer/sample_text.py)."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from services.errors import FailedPreconditionError
from trainer.data.dataset import Dataset
from trainer.evaluation.job import EvaluationJob
from trainer.executor import Job, SampleRequest
from trainer.runs.folder import RunFolder
from trainer.runs.supervised import SupervisedProcess, read_whole
from trainer.sandbox.candidate_plan import mask_paths, trusted_environment
from trainer.sandbox.plan import Limits, Plan

if TYPE_CHECKING:
    from trainer.runs.local_run import RunSettings

SAMPLE_SECONDS = 110.0  # just below the deadline that clients set


async def sample_from(job: Job, dataset: Dataset, settings: RunSettings, request: SampleRequest) -> str:
    """The prompt and what the model makes of it. Raises FailedPreconditionError when the candidate fails."""
    with tempfile.TemporaryDirectory(prefix="sample-", dir=job.folder) as name:
        folder = Path(name)
        wanted = await asyncio.to_thread(_job, job, dataset, settings, folder)
        (folder / "job.json").write_text(wanted.to_json(), encoding="utf-8")
        (folder / "request.json").write_text(json.dumps(asdict(request)), encoding="utf-8")
        environment = trusted_environment(folder, settings.threads)
        plan = Plan(
            command=(sys.executable, "-P", "-B", "-m", "trainer.sample_text", "job.json", "request.json"),
            environment=environment,
            folder=str(folder),
            limits=Limits(wall_seconds=SAMPLE_SECONDS),
        )
        process = await SupervisedProcess.start(plan, folder / "plan.json")
        try:
            complaints = asyncio.create_task(read_whole(process.stderr, 1 << 16))
            output = await read_whole(process.stdout, 1 << 20)
            await process.wait()
        finally:
            await asyncio.shield(process.stop())
    try:
        return str(json.loads(output.decode().splitlines()[-1])["text"])
    except (ValueError, IndexError, KeyError) as error:
        lines = (await complaints).decode("utf-8", "replace").strip().splitlines()
        why = lines[-1].removeprefix("error: ")[:300] if lines else "it gave no answer in time"
        raise FailedPreconditionError(
            f"the checkpoint cannot be sampled: {why}", reason="ARTIFACT_NOT_FOUND"
        ) from error


def _job(job: Job, dataset: Dataset, settings: RunSettings, folder: Path) -> EvaluationJob:
    run = RunFolder(job.folder)
    return EvaluationJob(
        train_py=str(run.source),
        checkpoint=str(run.checkpoint),
        dataset=str(dataset.folder),
        work=str(folder),
        tier=settings.tier.value,
        device="cpu",  # a GPU may be leased to an experiment
        threads=settings.threads,
        batch_rows=1,
        answer_seconds=60.0,
        memory_bytes=settings.memory_bytes,
        processes=settings.processes,
        container=settings.container,
        masked=mask_paths(dataset.manifest.origin_files),
    )
