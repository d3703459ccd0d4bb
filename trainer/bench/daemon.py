"""`trainerd bench`: dispatch latency, sandbox start-up, calls and watchers over the wire, and what the sealed
evaluator costs here."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from services.errors import ServiceError
from trainer.bench.wire import measure_wire, percentile
from trainer.data.dataset import Dataset
from trainer.datasets import Wanted, prepare_data
from trainer.executor import EndEvent, Job
from trainer.experiment import Budget, ExperimentRequest, Origin, Result, SeedGrant, State, Tier
from trainer.experiments import Experiments
from trainer.flags import FlagParser
from trainer.journal import Journal
from trainer.local_executor import LocalExecutor
from trainer.presets import PRESETS, Preset
from trainer.runs.supervised import SupervisedProcess
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan
from trainer.sandbox.plan import Limits
from trainer.sandbox.tiers import choose_tier
from trainer.scripted_executor import ScriptedExecutor
from trainer.settings import TrainerSettings
from trainer.templates import research_file


def main(arguments: list[str]) -> int:
    """Exit codes: 0 measured, 1 the measured run failed."""
    options = _parser().parse_args(arguments)
    try:
        figures = asyncio.run(_measure(options))
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0
    for name, value in figures.items():
        sys.stdout.write(
            f"{name:<36}{value:>12.4g}\n" if isinstance(value, float) else f"{name:<36}{value:>12}\n"
        )
    return 0


async def _measure(options: argparse.Namespace) -> dict[str, float | int | str]:
    figures: dict[str, float | int | str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if options.wire:
            return await measure_wire(folder, options.repeats)
        latencies = await measure_dispatch(folder / "dispatch", options.repeats * 10)
        figures["dispatch_p50_ms"] = percentile(latencies, 50)
        figures["dispatch_p99_ms"] = percentile(latencies, 99)
        for tier in reversed(choose_tier("auto").usable):
            seconds = [await start_seconds(tier, folder / f"{tier}-{i}") for i in range(options.repeats)]
            figures[f"start_{tier.lower()}_ms"] = statistics.median(seconds) * 1e3
        if options.run:
            figures |= await _measure_run(options, folder)
    return figures


async def measure_dispatch(state: Path, count: int) -> list[float]:
    """Seconds from a start to the state STARTING being journalled, with nothing to run."""
    latencies = []
    preset = PRESETS["cpu"]
    with Journal(state / "journal.db") as journal:
        experiments = Experiments(
            journal, ScriptedExecutor(seconds=0.0), state / "runs", queue_capacity=8, now=time.time
        )
        async with experiments:
            for number in range(count):
                request = _request(f"bench-{number}", "DEPTH = 4\n", preset, "scripted")
                began = time.monotonic()
                await experiments.start(request, "DEPTH = 4\n", str(number))
                async for event in experiments.watch(request.experiment_id, 0):
                    if event.kind == "state" and f'"state":"{State.STARTING}"' in event.body:
                        latencies.append(time.monotonic() - began)
                        break
                async for _ in experiments.watch(request.experiment_id, 0):
                    pass
    return latencies


async def start_seconds(tier: Tier, folder: Path) -> float:
    """Seconds to start and end an interpreter that does nothing, in a tier."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    plan = candidate_plan(
        ["-c", "pass"],
        CandidateFiles((), ()),
        tier=tier.value,
        scratch=scratch,
        environment={},
        limits=Limits(wall_seconds=60, processes=64),
    )
    began = time.monotonic()
    process = await SupervisedProcess.start(plan, folder / "plan.json")
    await process.wait()
    return time.monotonic() - began


async def _measure_run(options: argparse.Namespace, folder: Path) -> dict[str, float | int | str]:
    preset = PRESETS[options.preset]
    dataset = await _data(options.data.resolve(), preset)
    executor = await LocalExecutor.open(TrainerSettings(data=options.data, unsafe=True))
    source = research_file(preset)
    request = _request("run", source, preset, dataset.manifest.data_hash)
    devices = (await executor.capabilities()).devices[:1]
    result = Result()
    job = Job(request, source, folder / "run", devices)
    async with aclosing(executor.run(job)) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, EndEvent):
                result = event.result
    evaluation = result.evaluation
    if evaluation is None or result.val_bpb is None:
        raise ServiceError(f"the measured run failed: {result.failure}: {result.failure_message}")
    plain = await asyncio.to_thread(_plain_score, folder / "run", dataset)
    beyond = result.total_seconds - result.training_seconds
    return {
        "preset": preset.name,
        "training_seconds": result.training_seconds,
        "beyond_training_seconds": beyond,
        "scoring_seconds": evaluation.duration,
        "audit_seconds": evaluation.audit_duration,
        "audits_per_scoring": evaluation.audit_duration / evaluation.duration,
        "audits_per_300_s_run": evaluation.audit_duration / 300.0,
        "plain_scoring_seconds": float(plain["seconds"]),
        "sealed_per_plain": evaluation.duration / float(plain["seconds"]),
        "val_bpb_sealed_minus_plain": result.val_bpb - float(plain["val_bpb"]),
    }


def _plain_score(run: Path, dataset: Dataset) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "trainer.evaluation_plain",
        str(run / "train.py"),
        str(run / "checkpoint"),
    ]
    done = subprocess.run(
        [*command, str(dataset.folder), "--json"], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


async def _data(folder: Path, preset: Preset) -> Dataset:
    async for progress in prepare_data(folder, Wanted("", 0, 0, 0, 0, preset)):
        if progress.dataset is not None:
            return progress.dataset
    raise ServiceError("the preparation gave no data set")


def _request(experiment_id: str, source: str, preset: Preset, data_hash: str) -> ExperimentRequest:
    return ExperimentRequest(
        experiment_id=experiment_id,
        source_hash=hashlib.sha256(source.encode()).hexdigest(),
        seed=SeedGrant(1),
        budget=Budget(preset.budget_kind, preset.budget_amount),
        data_hash=data_hash,
        preset=preset.name,
        origin=Origin.TEMPLATE,
        keep_checkpoint=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = FlagParser(prog="trainerd bench", description="Measures the trainer's own costs.")
    parser.add_argument(
        "--repeats", type=int, default=10, help="starts of each tier; with --wire seconds of calls, and runs"
    )
    parser.add_argument(
        "--wire", action="store_true", help="measure calls and watchers over loopback instead"
    )
    parser.add_argument("--run", action="store_true", help="train and score once as well")
    parser.add_argument("--preset", default="cpu", choices=sorted(PRESETS), help="of that run")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser
