"""`python train.py`: one experiment from a shell, with data found or made and a score computed apart."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trainer.harness.launch import run_candidate
from trainer.harness.run_spec import Budget, RunSpec
from trainer.harness.summary import format_summary
from trainer.presets import PRESETS, Preset, choose_preset


def run_by_hand(train_py: str, arguments: list[str] | None = None) -> int:
    """Trains, scores and prints the summary. Exit codes: 0 scored, 1 failed, 2 wrong flag."""
    options = _parser().parse_args(arguments)
    path = Path(train_py).resolve()
    started = time.monotonic()
    preset = PRESETS[options.preset or _detect_preset()]
    dataset = _find_or_make_data(options, preset)
    if dataset is None:
        return 1
    out = options.out.resolve()
    run = RunSpec(
        experiment_id="by-hand",
        seed=options.seed,
        budget=_budget(options, preset),
        data_dir=str(dataset / "train"),
        out_dir=str(out),
        device=options.device,
        threads=options.threads,
    )
    for name in ("checkpoint.json", "model.safetensors"):
        (out / name).unlink(missing_ok=True)
    if code := run_candidate(path, run):
        return code
    score = _score(path, out, dataset, options)
    if score is None:
        return 1
    figures = json.loads((out / "checkpoint.json").read_text(encoding="utf-8"))
    print(format_summary(summary_values(figures, score["val_bpb"], time.monotonic() - started)))
    return 0


def summary_values(
    figures: dict[str, Any], val_bpb: float, total_seconds: float
) -> dict[str, float | int | None]:
    """The summary's values from a checkpoint's facts and the evaluator's score."""
    mfu = figures.get("mfu")
    return {
        "val_bpb": val_bpb,
        "training_seconds": figures.get("training_seconds"),
        "total_seconds": total_seconds,
        "peak_vram_mb": figures.get("peak_memory_bytes", 0) / 2**20,
        "mfu_percent": None if mfu is None else 100.0 * mfu,
        "total_tokens_M": figures.get("tokens", 0) / 1e6,
        "num_steps": figures.get("num_steps"),
        "num_params_M": figures.get("num_params", 0) / 1e6,
        "depth": figures.get("depth"),
    }


def _detect_preset() -> str:
    from trainer.harness.device import open_device

    device = open_device()
    return choose_preset(device.name, device.memory_bytes)


def _budget(options: argparse.Namespace, preset: Preset) -> Budget:
    if options.time_budget is not None:
        return Budget("time", options.time_budget)
    if options.token_budget is not None:
        return Budget("tokens", options.token_budget)
    return Budget(preset.budget_kind, preset.budget_amount)


def _find_or_make_data(options: argparse.Namespace, preset: Preset) -> Path | None:
    """The data set's folder; prepared by a process of its own, so that this one needs no tokenizer."""
    if (options.data / "manifest.json").is_file():
        return Path(options.data.resolve())
    command = [sys.executable, "-m", "trainer.data", "prepare", "--json", "--data", str(options.data)]
    command += ["--preset", preset.name, "--source", options.source]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        return None
    return Path(json.loads(done.stdout.splitlines()[-1])["folder"]).resolve()


def _score(
    train_py: Path, checkpoint: Path, dataset: Path, options: argparse.Namespace
) -> dict[str, Any] | None:
    command = [sys.executable, "-m", "trainer.evaluate", str(train_py), str(checkpoint), str(dataset)]
    command += ["--json", "--device", options.device, "--threads", str(options.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print("failure: the checkpoint could not be scored", file=sys.stderr)
        return None
    score: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if score.get("val_bpb") is None:
        print(f"failure: {score.get('finding')}: {score.get('message')}", file=sys.stderr)
        return None
    return score


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train.py", description="Trains and scores this file once.")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of data sets, or one data set"
    )
    parser.add_argument("--source", default="python", help="what to prepare when there is no data yet")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="data and budget (default: by device)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--time-budget", type=float, help="seconds of training")
    parser.add_argument("--token-budget", type=int, help="tokens of training")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder for the checkpoint")
    return parser
