"""`python -m trainer.bench.evaluator`: what the sealed evaluator costs on this device, and how far honest
arithmetic moves each of its audits.

Trains the preset's template for a few steps, scores the checkpoint plainly and, sealed, by each logit path
and attention backend. One line each: val_bpb minus the plain one, scoring seconds over the plain ones,
audit seconds over scoring; then each audit's largest and mean difference, for the choice of tolerances.
Of several rounds (--rounds) the one in the middle by audit seconds over scoring is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.errors import ConfigurationError, ServiceError
from trainer.datasets import ready_data
from trainer.harness.checkpoint_names import WEIGHTS_FILE
from trainer.harness.run_spec import RUN_VARIABLE, Budget, RunSpec
from trainer.presets import PRESETS, Preset
from trainer.sandbox.tiers import choose_tier
from trainer.templates import research_file


@dataclass(frozen=True)
class Work:
    """What is scored: the candidate, its checkpoint and the data."""

    train_py: Path
    checkpoint: Path
    dataset: Path


@dataclass(frozen=True)
class Way:
    """One way to score it."""

    logit_path: str
    attention: str
    compile: str

    @property
    def name(self) -> str:
        return f"{self.logit_path} {self.attention}" + (" compiled" if self.compile == "on" else "")


class MeasureError(Exception):
    """A process of the measurement failed; the text is the end of what it said."""


def main(arguments: list[str]) -> int:
    """Exit codes: 0 measured, 1 nothing could be measured."""
    options = _parser().parse_args(arguments)
    preset = PRESETS[options.preset]
    with tempfile.TemporaryDirectory(prefix="bench-evaluator-") as name:
        try:
            choose_tier(options.tier)
            work = prepare(Path(name), preset, options)
            plain = _last_json(["trainer.evaluation_plain", *_common(work, preset, options)])
        except (MeasureError, ConfigurationError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        lines = []
        for way in ways(options):
            try:
                rounds = [measure(work, way, plain, preset, options) for _ in range(max(1, options.rounds))]
                lines.append(middle(rounds))
            except MeasureError as error:
                lines.append({"way": way.name, "error": str(error)})
            sys.stdout.write(json.dumps(lines[-1]) + "\n" if options.json else describe(lines[-1]))
            sys.stdout.flush()
    return 0 if any("error" not in line for line in lines) else 1


def prepare(folder: Path, preset: Preset, options: argparse.Namespace) -> Work:
    """Data and a checkpoint of a few steps of training. Raises MeasureError."""
    dataset = options.data.resolve()
    if not (dataset / "manifest.json").is_file():
        try:
            dataset = asyncio.run(ready_data(dataset, preset, _say)).folder
        except ServiceError as error:
            raise MeasureError(str(error)) from error
    train_py, out = folder / "train.py", folder / "out"
    train_py.write_text(research_file(preset), encoding="utf-8")
    out.mkdir()
    tokens = options.steps * preset.size("TOTAL_BATCH_SIZE")
    run = RunSpec(
        experiment_id="bench",
        seed=1,
        budget=Budget("tokens", tokens),
        data_dir=str(dataset / "train"),
        out_dir=str(out),
        device=options.device,
        threads=options.threads,
        compile="off" if options.steps < 100 else "auto",
    )
    (folder / "run.json").write_text(run.to_json(), encoding="utf-8")
    _run(["trainer.harness.launch", str(train_py)], {RUN_VARIABLE: str(folder / "run.json")})
    if not (out / WEIGHTS_FILE).is_file():
        raise MeasureError("training left no checkpoint")
    return Work(train_py, out, dataset)


def ways(options: argparse.Namespace) -> Iterator[Way]:
    """Every logit path with the automatic backend, then the other backends, then compiled."""
    from trainer.harness.shared_device_memory import device_count

    yield Way("host", "auto", "off")
    if options.device == "cpu" or not device_count():
        return
    for backend in options.attention.split(","):
        yield Way("auto", backend, "off")
    yield Way("auto", "flex", "on")


def measure(
    work: Work, way: Way, plain: dict[str, Any], preset: Preset, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures of one way. Raises MeasureError, also where the evaluator refuses the honest model."""
    command = ["trainer.evaluate", *_common(work, preset, options), "--tier", options.tier]
    command += ["--logit-path", way.logit_path, "--attention", way.attention, "--compile", way.compile]
    report = _last_json(command, may_fail=True)
    evaluation = report["evaluation"]
    if report["val_bpb"] is None:
        raise MeasureError(f"{report['finding']}: {report['message']}")
    return {
        "way": way.name,
        "logit_path": evaluation["logit_path"],
        "path_reason": evaluation["logit_path_reason"],
        "refused": report["finding"],
        "tokens": evaluation["token_count"],
        "val_bpb": report["val_bpb"],
        "minus_plain": report["val_bpb"] - plain["val_bpb"],
        "scoring_seconds": evaluation["duration"],
        "per_plain": evaluation["duration"] / plain["seconds"],
        "audit_seconds": evaluation["audit_duration"],
        "audits_per_scoring": evaluation["audit_duration"] / evaluation["duration"],
        "audits": {
            audit["name"]: [audit["largest_difference"], audit["mean_difference"]]
            for audit in evaluation["audits"]
        },
    }


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The round in the middle by the share of the audits, with the shares of all; of two the smaller one."""
    ordered = sorted(rounds, key=lambda line: float(line["audits_per_scoring"]))
    shares = [line["audits_per_scoring"] for line in ordered]
    return {**ordered[(len(ordered) - 1) // 2], "rounds": shares}


def describe(line: dict[str, Any]) -> str:
    """One measured way as text."""
    if "error" in line:
        return f"{line['way']}: {line['error']}\n"
    reason = f" ({line['path_reason']})" if line["path_reason"] else ""
    refused = f"  REFUSED {line['refused']}" if line["refused"] else ""
    text = (
        f"{line['way']}: logits by {line['logit_path']}{reason}, {line['tokens']} tokens{refused}\n"
        f"  val_bpb {line['val_bpb']:.6f}, minus plain {line['minus_plain']:+.2e}; scoring"
        f" {line['scoring_seconds']:.2f} s = {line['per_plain']:.2f} x plain; audits"
        f" {line['audit_seconds']:.2f} s = {line['audits_per_scoring']:.1%} of scoring\n"
    )
    shares = line["rounds"]  # of the audits, ascending
    if len(shares) > 1:
        text += f"  of scoring in {len(shares)} rounds: {shares[0]:.1%} to {shares[-1]:.1%}\n"
    for name, (largest, mean) in line["audits"].items():
        text += f"  {name:<16} largest {largest:9.2e}  mean {mean:9.2e}\n"
    return text


def _common(work: Work, preset: Preset, options: argparse.Namespace) -> list[str]:
    """What both evaluators are told."""
    command = [str(work.train_py), str(work.checkpoint), str(work.dataset), "--json"]
    command += ["--device", options.device, "--threads", str(options.threads)]
    command += ["--batch-rows", str(options.batch_rows or preset.eval_batch_rows)]
    return [*command, "--validation-tokens", str(options.validation_tokens or preset.validation_tokens)]


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _last_json(command: list[str], may_fail: bool = False) -> dict[str, Any]:
    output = _run(command, {}, may_fail)
    try:
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise MeasureError(f"{command[0]} gave no result") from error
    return found


def _run(command: list[str], variables: dict[str, str], may_fail: bool = False) -> str:
    environment = {**os.environ, **variables}  # noqa: TID251  the environment of a child is made here
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and not (may_fail and done.stdout.strip()):
        last = done.stderr.strip().splitlines()[-3:] or [f"exit code {done.returncode}"]
        raise MeasureError(f"{command[0]}: {' | '.join(last)}"[:1000])
    return done.stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.bench.evaluator")
    parser.add_argument("--preset", default="cpu", choices=sorted(PRESETS))
    parser.add_argument(
        "--data", "--dataset", type=Path, default=Path("data"), help="folder of data sets, or one data set"
    )
    parser.add_argument("--steps", type=int, default=20, help="steps of training before")
    parser.add_argument("--rounds", type=int, default=1, help="each way this often, the middle one shown")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--tier", default="none", choices=["none", "landlock", "bubblewrap"])
    parser.add_argument("--batch-rows", type=int, default=0, help="0: the preset's")
    parser.add_argument("--validation-tokens", type=int, default=0, help="at most; 0: the preset's")
    parser.add_argument(
        "--attention", default="auto,flex,varlen,varlen+cudnn,sdpa", help="backends to score with"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a way")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
