"""`python -m trainer train`: one run of one train.py without a daemon; prints the ancestors' summary."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import secrets
import signal
import sys
import tempfile
from contextlib import aclosing
from pathlib import Path

from services.addresses import parse_address
from services.errors import ConfigurationError, ServiceError, UnavailableError
from trainer.datasets import ready_data
from trainer.executor import EndEvent, Job, LogEvent
from trainer.experiment import Budget, ExperimentRequest, Origin, Result, SeedGrant, Tier
from trainer.flags import FlagParser
from trainer.harness.summary import format_summary
from trainer.local_executor import LocalExecutor
from trainer.presets import PRESETS, Preset, choose_preset
from trainer.sandbox.candidate_plan import refuse_shown
from trainer.settings import TrainerSettings
from trainer.templates import research_file

TIERS = ["auto", "container", "bubblewrap", "landlock", "none"]


def main(arguments: list[str]) -> int:
    """Exit codes: 0 scored, 1 the run failed, 2 a wrong flag, 130 interrupted, 143 ended by SIGTERM."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_train(options))
    except ConfigurationError:
        raise
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; every process of the run is gone\n")
        return 130
    except asyncio.CancelledError:
        sys.stderr.write("ended by SIGTERM; every process of the run is gone\n")
        return 143


async def _train(options: argparse.Namespace) -> int:
    _end_on_sigterm()
    settings = TrainerSettings(
        data=options.data,
        state=Path(tempfile.gettempdir()),
        sandbox=options.sandbox,
        threads=options.threads,
        container_image=options.container_image,
        container_engine=options.container_engine,
        unsafe=True,
        _cli_parse_args=False,
    )  # type: ignore[call-arg]
    executor = await LocalExecutor.open(settings)
    capabilities = await executor.capabilities()
    if options.out is not None and capabilities.tier is not Tier.NONE:
        refuse_shown("--out", options.out)
    for warning in capabilities.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    device = capabilities.devices[0]
    memory = device.memory_bytes if device.kind == "cuda" else 0
    preset = PRESETS[options.preset or choose_preset(device.name, memory)]
    source = _read_source(options.source, preset, options.devices)
    dataset = await ready_data(options.data.resolve(), preset, _say)
    request = ExperimentRequest(
        experiment_id="train",
        source_hash=hashlib.sha256(source.encode()).hexdigest(),
        seed=await _seed(options),
        budget=_budget(options, preset),
        data_hash=dataset.manifest.data_hash,
        preset=preset.name,
        origin=Origin.USER,
        keep_checkpoint=options.out is not None,
        device_count=options.devices,
    )
    await executor.check(request)
    with tempfile.TemporaryDirectory(prefix="autoresearch-") as name:
        folder = options.out.resolve() if options.out is not None else Path(name)
        job = Job(request, source, folder, capabilities.devices[: options.devices])
        async with aclosing(executor.run(job)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, LogEvent):
                    sys.stderr.write(f"{event.text}\n")
                elif isinstance(event, EndEvent):
                    return _report(event.result, request, options.json)
    return 1


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _end_on_sigterm() -> None:
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _read_source(path: Path | None, preset: Preset, devices: int) -> str:
    if path is None:
        return research_file(shared_out(preset, devices))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--source: cannot read {path}: {error}") from error


def shared_out(preset: Preset, devices: int) -> Preset:
    """The preset with fewer rows a forward pass where a step would otherwise have none for some device: the
    tokens of a step, and so what is trained, stay the same."""
    rows, tokens = preset.size("DEVICE_BATCH_SIZE"), preset.size("TOTAL_BATCH_SIZE")
    if devices == 1 or rows * preset.context_length * devices <= tokens or rows % devices:
        return preset
    return preset.with_values({"DEVICE_BATCH_SIZE": rows // devices})


async def _seed(options: argparse.Namespace) -> SeedGrant:
    if options.seed is not None:
        return SeedGrant(options.seed)
    if not options.entropy:
        return SeedGrant(secrets.randbits(63), source="os")
    from services.entropy_client import EntropyClient

    target = str(parse_address(options.entropy, name="--entropy"))
    try:
        async with EntropyClient(target) as client:
            drawn = await client.draw(8, purpose="seed of one training run")
    except ServiceError as error:
        raise UnavailableError(
            f"--entropy: {target} gave no seed; start entropyd there, or give --seed ({error.message})"
        ) from error
    return SeedGrant(int.from_bytes(drawn.entropy, "big") >> 1, source="remote")


def _budget(options: argparse.Namespace, preset: Preset) -> Budget:
    if options.time_budget is not None:
        return Budget("time", options.time_budget)
    if options.tokens is not None:
        return Budget("tokens", float(options.tokens))
    return Budget(preset.budget_kind, preset.budget_amount)


def _report(result: Result, request: ExperimentRequest, as_json: bool) -> int:
    summary = {
        "val_bpb": result.val_bpb,
        "training_seconds": result.training_seconds,
        "total_seconds": result.total_seconds,
        "peak_vram_mb": result.peak_memory_bytes / 2**20,
        "mfu_percent": result.mfu_percent,
        "total_tokens_M": result.tokens / 1e6,
        "num_steps": result.num_steps,
        "num_params_M": result.num_parameters / 1e6,
        "depth": result.depth,
    }
    sys.stdout.write(format_summary(summary) + "\n")
    if result.failure is not None:
        sys.stderr.write(f"failure: {result.failure}: {result.failure_message}\n")
    if as_json:
        more = {
            "val_bpb_legacy": result.val_bpb_legacy,
            "initial_loss": result.initial_loss,
            "final_loss": result.final_loss,
            "tokens": result.tokens,
            "vocab_size": result.vocabulary_size,
            "preset": request.preset,
            "device": result.device,
            "attention": result.attention,
            "seed": request.seed.value,
            "seed_source": request.seed.source,
            "data_hash": result.data_hash,
            "failure_reason": result.failure,
            "failure_message": result.failure_message,
        }
        sys.stdout.write(json.dumps(summary | more) + "\n")
    sys.stdout.flush()
    return 0 if result.failure is None else 1


def _parser() -> argparse.ArgumentParser:
    parser = FlagParser(prog="python -m trainer train", description="Trains and scores once.")
    parser.add_argument("--source", type=Path, help="the train.py (default: the template with the preset)")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="data and budget (default: by device)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--time-budget", type=_positive, metavar="SECONDS", help="seconds of training")
    budget.add_argument("--tokens", type=_positive, help="tokens of training")
    parser.add_argument("--seed", type=int, help="default: drawn from --entropy or the system")
    parser.add_argument("--entropy", default="", metavar="HOST:PORT", help="entropyd that draws the seed")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets")
    parser.add_argument("--out", type=Path, help="keep checkpoint, log and metrics in this folder")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all cores")
    parser.add_argument("--devices", type=_count, default=1, help="GPUs that train this one model")
    parser.add_argument("--sandbox", default="auto", choices=TIERS)
    parser.add_argument("--container-image", default="debian:bookworm-slim", help="for --sandbox container")
    parser.add_argument("--container-engine", default="", help="address of the Docker engine")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be positive")
    return value
