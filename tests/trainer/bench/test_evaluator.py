"""The measurement of the sealed evaluator: what it prints, and that it equals the plain one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trainer.bench.evaluator import Way, describe, main, middle

LINE = {
    "way": "auto flex",
    "logit_path": "host",
    "path_reason": "there is no CUDA driver library",
    "refused": "STATEFUL",
    "tokens": 4096,
    "val_bpb": 1.5,
    "minus_plain": 1e-7,
    "scoring_seconds": 2.0,
    "per_plain": 1.25,
    "audit_seconds": 0.2,
    "audits_per_scoring": 0.1,
    "rounds": [0.1],
    "audits": {"fresh": [0.25, 0.125]},
}


def test_a_way_is_described_with_all_that_was_measured() -> None:
    text = describe(LINE)
    for part in (
        "auto flex: logits by host (there is no CUDA driver library), 4096 tokens  REFUSED STATEFUL",
        "val_bpb 1.500000, minus plain +1.00e-07",
        "2.00 s = 1.25 x plain",
        "0.20 s = 10.0% of scoring",
        "fresh            largest  2.50e-01  mean  1.25e-01",
    ):
        assert part in text
    assert describe({"way": "auto fa4", "error": "NO_ANSWER: gone"}) == "auto fa4: NO_ANSWER: gone\n"
    assert Way("auto", "flex", "on").name == "auto flex compiled"


def test_of_several_rounds_the_middle_one_is_shown_with_the_range_of_all() -> None:
    rounds = [{**LINE, "audits_per_scoring": share, "val_bpb": share} for share in (0.15, 0.11, 0.12)]
    shown = middle(rounds)
    assert (shown["val_bpb"], shown["rounds"]) == (0.12, [0.11, 0.12, 0.15])
    assert "of scoring in 3 rounds: 11.0% to 15.0%" in describe(shown)
    assert "rounds" not in describe(middle(rounds[:1]))


def test_data_that_is_not_there_and_cannot_be_made_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--preset", "tiny", "--data", str(tmp_path / "file" / "data"), "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(tmp_path / "file" / "data") in said


def test_a_tier_that_does_not_work_here_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    assert main(["--preset", "tiny", "--data", str(tmp_path), "--tier", "bubblewrap"]) == 1
    assert f"bubblewrap does not work here: the program bwrap is not installed in {tmp_path}" in (
        capsys.readouterr().err
    )


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_sealed_score_is_the_plain_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--preset", "tiny", "--data", str(tmp_path), "--device", "cpu", "--threads", "1", "--json"]
    assert main(arguments) == 0
    line = json.loads(capsys.readouterr().out)
    assert abs(line["minus_plain"]) < 1e-6
    assert not line["refused"]
    assert list(line["audits"]) == [
        "finite", "shape", "fresh", "cut", "causality", "prefix", "fewer-rows", "fewer-again"
    ]  # fmt: skip
    assert line["logit_path"] == "host"
