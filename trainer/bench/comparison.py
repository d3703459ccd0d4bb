"""`python -m trainer.bench.comparison`: compares arms on the same seeds, rows and machine.

Runs are interleaved (A B C, then C B A for the next seed, so that slow drift of the machine falls on
all arms alike), each in a process of its own and scored by the plain evaluator in another. Every run is
appended to a file, and a run that stands there already is not repeated. Budgets of different kinds or
sizes, devices, attention backends, data and epochs are never compared: each has its own key or is refused.
"""

import argparse
import asyncio
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.errors import ServiceError
from trainer.bench.arms import Arm, parse_arms
from trainer.bench.report import format_report, summarize
from trainer.data.dataset import Dataset, open_dataset
from trainer.datasets import ready_data
from trainer.devices import preset_here
from trainer.harness.failures import ContractError
from trainer.harness.run_spec import Budget, RunSpec
from trainer.presets import find_preset

KEY = ("data_hash", "budget", "device_asked", "attention_asked", "compile_asked")


@dataclass(frozen=True)
class Plan:
    """What every run of a comparison has in common."""

    dataset: Dataset
    budget: Budget
    device: str
    threads: int
    attention: str
    compile: str
    file: Path
    in_process: bool = False

    @property
    def key(self) -> dict[str, object]:
        """Runs are comparable only when all of this is equal."""
        data_hash, budget = self.dataset.manifest.data_hash, asdict(self.budget)
        return dict(zip(KEY, (data_hash, budget, self.device, self.attention, self.compile), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all runs are there, 1 some failed, 2 a wrong flag."""
    options = _parser().parse_args(arguments)
    try:
        preset = find_preset(options.preset or preset_here())
        arms = parse_arms(options.arms, preset)
        if options.time_budget is not None:
            budget = Budget("time", options.time_budget)
        elif options.token_budget is not None:
            budget = Budget("tokens", options.token_budget)
        else:
            budget = Budget(preset.budget_kind, preset.budget_amount)
        if options.dataset is not None:
            dataset = open_dataset(options.dataset)
        else:
            dataset = asyncio.run(ready_data(options.data.resolve(), preset, _say))
    except (ValueError, ContractError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    plan = Plan(
        dataset,
        budget,
        options.device,
        options.threads,
        options.attention,
        options.compile,
        options.out,
        options.in_process,
    )
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    records = run_all(arms, list(seeds), plan)
    report = summarize(records, [arm.label for arm in arms])
    print(json.dumps(report) if options.json else format_report(report))  # noqa: T201
    return 0 if all(record["status"] == "scored" for record in records) else 1


def run_all(arms: list[Arm], seeds: list[int], plan: Plan) -> list[dict[str, Any]]:
    """Runs what the file does not hold yet and returns the records of all arms and seeds."""
    known = {identity(record): record for record in read_records(plan.file)}
    records = []
    for turn, seed in enumerate(seeds):
        for arm in arms if turn % 2 == 0 else reversed(arms):
            wanted = {"arm": arm.label, "text": arm.text, "seed": seed, **plan.key}
            record = known.get(identity(wanted))
            if record is None:
                record = {**wanted, **run_once(arm, seed, plan)}
                append_record(plan.file, record)
            _say(_line(record))
            records.append(record)
    return records


def identity(record: dict[str, Any]) -> str:
    """What makes two runs the same run: the text, the seed and the plan's key; not the arm's name."""
    return json.dumps([record.get(name) for name in ("text", "seed", *KEY)], sort_keys=True)


def run_once(arm: Arm, seed: int, plan: Plan) -> dict[str, Any]:
    """Trains and scores once; a failure is a record with its last line, not an exception."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "train.py").write_text(arm.text, encoding="utf-8")
        run = RunSpec(
            experiment_id=f"bench-{arm.label}-{seed}",
            seed=seed,
            budget=plan.budget,
            data_dir=str(plan.dataset.train_folder.resolve()),
            out_dir=str(folder / "out"),
            device=plan.device,
            threads=plan.threads,
            attention=plan.attention,
            compile=plan.compile,
        )
        (folder / "run.json").write_text(run.to_json(), encoding="utf-8")
        if plan.in_process:
            return _run_here(folder, plan.dataset.folder.resolve())
        command = [
            sys.executable,
            "-m",
            "trainer.bench.single_run",
            str(folder),
            str(plan.dataset.folder.resolve()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            return {"status": "failed", "message": lines[-1]}
        return {"status": "scored", **json.loads(done.stdout.splitlines()[-1])}


def _run_here(folder: Path, dataset: Path) -> dict[str, Any]:
    from trainer.bench.single_run import train_and_score

    with contextlib.redirect_stdout(io.StringIO()):
        result = train_and_score(folder, dataset)
    return {"status": "failed", "message": "see above"} if result is None else {"status": "scored", **result}


def read_records(file: Path) -> list[dict[str, Any]]:
    """Records of a results file; a line that a kill cut short is skipped."""
    if not file.exists():
        return []
    records = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [record for record in records if record.get("status") == "scored"]


def append_record(file: Path, record: dict[str, Any]) -> None:
    """Adds one line; after a cut line it begins a new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as stream:
        if stream.tell() > 0:
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(record).encode() + b"\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _line(record: dict[str, Any]) -> str:
    if record["status"] != "scored":
        return f"{record['arm']:>20}  seed {record['seed']}  failed: {record['message']}"
    return (
        f"{record['arm']:>20}  seed {record['seed']}  val_bpb {record['val_bpb']:.5f}"
        f"  {record['tokens_per_second']:,.0f} tokens/s"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.bench.comparison", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--arms", required=True, help="default, a preset, or label:NAME=VALUE;NAME=VALUE; by commas"
    )
    parser.add_argument(
        "--preset", default="", help="what `default` and changes start from; default: by device"
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        help="folder of data sets; the preset's is prepared if missing",
    )
    data.add_argument("--dataset", type=Path, help="one prepared data set, for all arms")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1, help="confirm on other seeds than you screened")
    parser.add_argument("--time-budget", type=float, help="seconds of training")
    parser.add_argument("--token-budget", type=int, help="tokens of training")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("bench.jsonl"), help="results file, resumed")
    parser.add_argument(
        "--in-process",
        action="store_true",
        help="no process per run: for many small runs, where starting torch costs more than the run;"
        " memory then is that of the whole series",
    )
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
