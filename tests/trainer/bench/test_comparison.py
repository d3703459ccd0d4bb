"""The comparison runner: arms from a line, paired intervals, resumed files, honest reports."""

import json
import math
from pathlib import Path

import pytest

from trainer.bench.arms import parse_arms
from trainer.bench.comparison import append_record, identity, main, read_records
from trainer.bench.paired_statistics import ratio_interval, t_interval
from trainer.bench.report import format_report, summarize
from trainer.data.dataset import Dataset
from trainer.presets import PRESETS

CPU = PRESETS["cpu"]
TINY = "DEPTH=2;ASPECT_RATIO=16;HEAD_DIM=16;DEVICE_BATCH_SIZE=4;TOTAL_BATCH_SIZE=2**8"


def test_arms_are_presets_or_changes_to_the_base() -> None:
    default, changed, seed = parse_arms("default,x:DEPTH=2;SMEAR=True;TOTAL_BATCH_SIZE=2**12,seed-h100", CPU)
    assert "DEPTH = 4 " in default.text
    assert "DEPTH = 2 " in changed.text
    assert "SMEAR = True" in changed.text
    assert "TOTAL_BATCH_SIZE = 2**12" in changed.text
    assert "DEPTH = 9 " in seed.text


@pytest.mark.parametrize(
    "text", ["", "default,default", "moon", "x:DEPTH", "x:DEPTH=open()", "x:NOSUCH=1", "a b:DEPTH=1"]
)
def test_a_wrong_arm_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_arms(text, CPU)


def test_the_interval_is_students() -> None:
    got = t_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182 * math.sqrt(5 / 3) / 2
    assert (got.mean, got.n) == (2.5, 4)
    assert got.low == pytest.approx(2.5 - half)
    assert got.high == pytest.approx(2.5 + half)
    assert t_interval([7.0]).high == math.inf


def test_a_ratio_is_geometric_and_paired() -> None:
    got = ratio_interval([2.0, 8.0], [1.0, 1.0])
    assert got.mean == pytest.approx(4.0)
    same = ratio_interval([3.0, 5.0], [6.0, 10.0])
    assert same.low == pytest.approx(0.5)
    assert same.high == pytest.approx(0.5)


def record(arm: str, seed: int, bpb: float, **changes: object) -> dict[str, object]:
    facts = {
        "tokens_per_second": 10.0,
        "peak_memory_bytes": 1,
        "device": "cpu",
        "attention": "sdpa",
        "mfu": None,
    }
    more = {"dead_seconds": 1.0, "num_steps": 3, "final_loss": 1.0}
    return {"arm": arm, "seed": seed, "status": "scored", "val_bpb": bpb, **facts, **more, **changes}


def test_the_report_pairs_by_seed_and_names_what_cannot_be_compared() -> None:
    records = [record("a", 1, 1.0), record("a", 2, 2.0), record("b", 1, 0.9), record("b", 2, 1.8)]
    records += [
        record("c", 1, 0.5, device="another"),
        {"arm": "d", "seed": 1, "status": "failed", "message": "x"},
    ]
    report = summarize(records, ["a", "b", "c", "d"])
    b, c, d = report["arms"][1:]
    assert b["val_bpb_ratio"]["mean"] == pytest.approx(0.9)
    assert b["val_bpb_difference"]["mean"] == pytest.approx(-0.15)
    assert b["comparable"] is True
    assert c["comparable"] is False
    assert c["val_bpb_ratio"]["low"] is None
    assert d["runs"] == 0
    assert [arm["attention"] for arm in (b, c, d)] == [["sdpa"], ["sdpa"], []]
    text = format_report(report)
    assert "do not compare" in text
    assert "no scored run" in text
    json.dumps(report, allow_nan=False)


def test_a_cut_line_is_skipped_and_the_next_record_survives(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "bench.jsonl"
    append_record(file, record("a", 1, 1.0))
    with file.open("a") as stream:
        stream.write('{"arm": "b", "se')
    append_record(file, record("c", 2, 1.0))
    assert [r["arm"] for r in read_records(file)] == ["a", "c"]


def test_another_budget_or_data_set_is_another_run() -> None:
    one = {"text": "t", "seed": 1, "data_hash": "d", "budget": {"kind": "tokens", "amount": 1.0}}
    assert identity(one) == identity({**one, "arm": "renamed"})
    assert identity(one) != identity({**one, "budget": {"kind": "time", "amount": 1.0}})
    assert identity(one) != identity({**one, "data_hash": "e"})


@pytest.mark.long
def test_a_comparison_runs_resumes_and_reports(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.jsonl"
    arms = f"a:{TINY},b:{TINY};MATRIX_LR=0.0,bad:{TINY};NGRAM_ORDER=9"
    command = ["--arms", arms, "--dataset", str(dataset.folder), "--token-budget", "5120", "--out", str(file)]
    command += ["--json", "--device", "cpu", "--threads", "1"]
    assert main([*command, "--seeds", "1"]) == 1
    capsys.readouterr()
    assert len(read_records(file)) == 2
    assert main([*command[:1], arms.rsplit(",", 1)[0], *command[2:], "--seeds", "2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(read_records(file)) == 4
    assert report["arms"][1]["val_bpb_ratio"]["n"] == 2
    assert report["arms"][1]["comparable"] is True
    here = ["--in-process", "--seeds", "1", "--out", str(tmp_path / "here.jsonl")]
    assert main([*command[:1], f"a:{TINY}", *command[2:], *here]) == 0
    capsys.readouterr()
    (again,) = read_records(tmp_path / "here.jsonl")
    first = next(r for r in read_records(file) if (r["arm"], r["seed"]) == ("a", 1))
    assert (again["val_bpb"], again["final_loss"]) == (first["val_bpb"], first["final_loss"])


@pytest.mark.long
def test_without_a_data_set_the_preset_prepares_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--arms", "default", "--preset", "tiny", "--data", str(tmp_path / "data"), "--json"]
    command += ["--seeds", "1", "--device", "cpu", "--threads", "1", "--out", str(tmp_path / "bench.jsonl")]
    assert main([*command, "--token-budget", "1024"]) == 0
    shown = capsys.readouterr()
    assert "prepare: " in shown.err
    assert json.loads(shown.out)["arms"][0]["runs"] == 1


def test_a_wrong_flag_value_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--arms", "moon", "--dataset", str(tmp_path)]) == 2
    assert "choose one of" in capsys.readouterr().err
    assert main(["--arms", "default", "--dataset", str(tmp_path)]) == 2
    assert "no prepared data set" in capsys.readouterr().err
