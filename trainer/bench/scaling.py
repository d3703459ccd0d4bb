"""`python -m trainer.bench.scaling --devices 2`: one experiment on one device and on several.

Two questions. Speed: the same rows a device and forward pass, so that a step takes `devices` times the
tokens; the ratio of tokens per second. Loss: the same tokens a step in all, which must give the same curve;
the greatest difference in the first steps, not compiled, beside that of two runs on one device, which is
what the device's own rounding gives. Ranks are started as the trainer starts them, without its sandbox.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.errors import ServiceError
from trainer.datasets import ready_data
from trainer.devices import preset_here
from trainer.harness.failures import ContractError
from trainer.harness.run_spec import EVENTS_VARIABLE, RUN_VARIABLE, Budget, RunSpec
from trainer.presets import Preset, find_preset
from trainer.sandbox.ranks import in_ranks
from trainer.templates import research_file

FIGURES = (
    "tokens_per_second", "peak_memory_bytes", "mfu", "setup_seconds", "attention", "device", "devices",
)  # fmt: skip


@dataclass(frozen=True)
class Ranks:
    """One run: how many processes, rows a forward pass takes in each, tokens a step takes over all."""

    count: int
    rows: int
    step_tokens: int
    budget: Budget
    compile: str


@dataclass(frozen=True)
class Place:
    """What all runs have in common."""

    preset: Preset
    train_folder: Path
    device: str
    threads: int
    attention: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 measured, 1 a run failed, 2 a wrong flag."""
    options = _parser().parse_args(arguments)
    try:
        preset = find_preset(options.preset or preset_here())
        dataset = asyncio.run(ready_data(options.data.resolve(), preset, _say))
        place = Place(preset, dataset.train_folder, options.device, options.threads, options.attention)
        report = measure(place, options.devices, options.seconds, options.steps)
    except (ValueError, ContractError, ServiceError) as error:
        _say(f"error: {error}")
        return 2
    except RuntimeError as error:
        _say(f"failure: {error}")
        return 1
    print(json.dumps(report) if options.json else format_report(report))  # noqa: T201
    return 0


def measure(place: Place, devices: int, seconds: float, steps: int) -> dict[str, Any]:
    """Both answers, as data. Raises ValueError where the preset's step cannot be divided, RuntimeError with
    the last words of a run that failed."""
    rows, tokens = place.preset.size("DEVICE_BATCH_SIZE"), place.preset.size("TOTAL_BATCH_SIZE")
    if devices < 2:
        raise ValueError(f"--devices: {devices} is nothing to compare with one; give 2 or more")
    if rows % devices:
        raise ValueError(f"--devices: the preset's {rows} rows a forward pass are not divisible by {devices}")
    timed = Ranks(1, rows, tokens, Budget("time", seconds), "auto")
    alone = run(place, timed)
    together = run(place, replace(timed, count=devices, step_tokens=devices * tokens))
    few = Ranks(1, rows // devices, tokens, Budget("tokens", float(steps * tokens)), "off")
    curves = [run(place, ranks)["losses"] for ranks in (few, few, replace(few, count=devices))]
    return {
        "preset": place.preset.name,
        "devices": devices,
        "alone": {name: alone[name] for name in FIGURES},
        "together": {name: together[name] for name in FIGURES},
        "speed_ratio": together["tokens_per_second"] / alone["tokens_per_second"],
        "steps": steps,
        "loss_difference": _difference(curves[0], curves[2]),
        "loss_difference_of_repeats": _difference(curves[0], curves[1]),
        "last_losses": [curve[-1] for curve in curves],
    }


def run(place: Place, ranks: Ranks) -> dict[str, Any]:
    """Trains once; the figures of its checkpoint, tokens per second, and the loss of every step."""
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        sizes = {"DEVICE_BATCH_SIZE": ranks.rows, "TOTAL_BATCH_SIZE": ranks.step_tokens}
        preset = place.preset.with_values(sizes)
        (folder / "train.py").write_text(research_file(preset), encoding="utf-8")
        spec = RunSpec(
            f"scaling-{ranks.count}",
            1,
            ranks.budget,
            str(place.train_folder.resolve()),
            str(folder / "out"),
            place.device,
            threads=place.threads,
            attention=place.attention,
            compile=ranks.compile,
        )
        (folder / "run.json").write_text(spec.to_json(), encoding="utf-8")
        events = _launch(folder, ranks.count)
        facts = json.loads((folder / "out" / "checkpoint.json").read_text(encoding="utf-8"))
    losses = [event["values"]["loss"] for event in events if event["type"] == "metric"]
    speed = facts["tokens"] / facts["training_seconds"]
    _say(f"{ranks.count} x {ranks.rows} rows: {speed:,.0f} tokens/s")
    return {**facts, "tokens_per_second": speed, "losses": losses}


def _launch(folder: Path, count: int) -> list[dict[str, Any]]:
    command = ("-m", "trainer.harness.launch", str(folder / "train.py"))
    with (folder / "events").open("wb") as events:
        environment = {
            **os.environ,  # noqa: TID251 - a child's
            RUN_VARIABLE: str(folder / "run.json"),
            EVENTS_VARIABLE: str(events.fileno()),
        }
        done = subprocess.run(
            [sys.executable, *in_ranks(command, count, (events.fileno(),))],
            env=environment,
            pass_fds=(events.fileno(),),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"the run of {count} ended with {done.returncode}: {words[-1]}")
    return [json.loads(line) for line in (folder / "events").read_text(encoding="utf-8").splitlines()]


def format_report(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"preset {report['preset']}, {report['devices']} devices"]
    for name, count in (("alone", 1), ("together", report["devices"])):
        one = report[name]
        lines.append(
            f"{count} x {one['device']}: {one['tokens_per_second']:,.0f} tokens/s, peak of one"
            f" {one['peak_memory_bytes'] / 2**30:.1f} GiB, {one['attention']} attention"
        )
    lines.append(f"speed {report['speed_ratio']:.3f} times that of one")
    lines.append(
        f"loss in {report['steps']} steps of equal size: at most {report['loss_difference']:.2g} apart"
        f" (two runs on one device: {report['loss_difference_of_repeats']:.2g})"
    )
    return "\n".join(lines)


def _difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.bench.scaling", description="One experiment on one device and on several."
    )
    parser.add_argument("--preset", default="", help="default: by device")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets")
    parser.add_argument("--devices", type=int, default=2, help="with --device cpu: processes")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training, for the speed")
    parser.add_argument("--steps", type=int, default=20, help="for the loss")
    parser.add_argument("--device", default="auto", help="cpu or auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
