"""Estimates against known sources, the restart check, the signed report and what it allows."""

from __future__ import annotations

import json
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from entropyd.assessment.assess import judge
from entropyd.assessment.assess import main as assess
from entropyd.assessment.estimators import estimate_all, estimate_bit_markov
from entropyd.assessment.nist_tool import compare_with_ours, nist_results, run_nist_tool
from entropyd.assessment.restart_check import check_restarts, count_limit
from entropyd.assessment.site_report import credit_for, read_report
from entropyd.records.state_store import StateStore
from entropyd.sources.synthetic import SyntheticReceiver
from entropyd.sources.tuning import Tuning
from services.errors import ConfigurationError
from tests.entropyd.conftest import FakeDongle
from tests.entropyd.test_daemon import get

RANDOM = np.random.default_rng(12)


def test_estimates_of_a_known_source_lie_just_below_its_entropy() -> None:
    p = np.array([0.5, 0.25, 0.125, 0.125])
    estimates = estimate_all(RANDOM.choice(4, 400_000, p=p).astype(np.uint8))
    assert estimates.common_value == pytest.approx(1.0, abs=0.02)
    assert estimates.first_order == pytest.approx(1.0, abs=0.02)
    assert estimates.tuple_of_samples == pytest.approx(1.0, abs=0.03)
    assert estimates.lag == pytest.approx(-math.log2(float(p @ p)), abs=0.03)
    assert estimates.lowest <= 1.0


def test_a_markov_source_is_caught_by_the_chain_estimates_only() -> None:
    bits = np.zeros(200_000, np.uint8)
    flips = RANDOM.random(bits.size) < 0.1
    bits[:] = np.cumsum(flips) % 2
    estimates = estimate_all(bits)
    assert estimates.common_value > 0.9
    assert estimates.first_order == pytest.approx(-math.log2(0.9), abs=0.01)
    assert estimate_bit_markov(bits) == pytest.approx(-math.log2(0.9), abs=0.02)


def test_uniform_bytes_reach_nearly_eight_bits() -> None:
    estimates = estimate_all(RANDOM.integers(0, 256, 400_000, dtype=np.uint8))
    assert estimates.common_value > 7.7
    assert estimates.lowest > 6.5  # the first-order estimate overfits 65,536 cells: too low, never too high


def test_a_period_is_caught_by_the_lag_and_tuple_estimates() -> None:
    period = RANDOM.integers(0, 256, 100, dtype=np.uint8)
    estimates = estimate_all(np.tile(period, 1000))
    assert estimates.lag < 0.01
    assert estimates.tuple_of_samples < 1.2


def test_restart_rows_and_columns_that_stand_out_are_found() -> None:
    matrix = RANDOM.binomial(7, 0.5, (200, 200)).astype(np.uint8)
    assert check_restarts(matrix, 1.8)
    same_start = matrix.copy()
    same_start[:, 0] = 3
    assert not check_restarts(same_start, 1.8)
    stuck_once = matrix.copy()
    stuck_once[17] = 4
    assert not check_restarts(stuck_once, 1.8)


def test_the_count_limit_is_the_binomial_quantile() -> None:
    # Binomial(10, 1/2): P(X > 8) = 11/1024, P(X > 9) = 1/1024
    assert count_limit(10, 1.0, 11 / 1024 + 1e-9) == 8
    assert count_limit(10, 1.0, 11 / 1024 - 1e-9) == 9
    assert count_limit(10, 0.0, 0.01) == 10


def test_credit_is_half_the_estimate_and_at_most_one_half() -> None:
    assert credit_for(1.36) == Fraction(1, 2)
    assert credit_for(0.5) == Fraction(1, 4)
    assert credit_for(0.28) == Fraction(1, 10)
    assert credit_for(0.05) == 0


def test_an_alarm_while_gathering_leaves_the_default() -> None:
    receiver = SyntheticReceiver(3)
    samples = np.frombuffer(receiver.chunk(60_000), np.uint8)
    matrix = np.frombuffer(receiver.chunk(50_000), np.uint8).reshape(100, 1000)
    _, lowest, sound, credit, problems = judge(samples, matrix, ["carrier"], {})
    assert sound
    assert credit == Fraction(1, 2)
    assert 1.0 < lowest < 1.9
    assert problems[0] == "health test carrier failed while gathering"
    assert "trial run" in problems[-1]


def write_capture(path: Path, chunks: int) -> Path:
    receiver = SyntheticReceiver(5)
    path.write_bytes(b"".join(receiver.chunk() for _ in range(chunks)))
    return path


def test_the_command_writes_a_report_that_says_why_it_allows_nothing(tmp_path: Path, capsys) -> None:
    capture = write_capture(tmp_path / "c.iq", 2)
    arguments = ["--source", f"file:{capture}", "--state", str(tmp_path / "s"), "--settle-seconds", "0"]
    code = assess([*arguments, "--samples", "200000", "--restarts", "12", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 1
    assert report["sample_count"] == 200_000
    assert not report["restart_ok"]  # a file starts the same each time
    assert report["credited_bits_per_sample"] == "1/10"
    assert any("trial run" in problem for problem in report["problems"])
    assert 0 < report["lowest_estimate"] < 1.9


@pytest.mark.parametrize("source", ["os:", "http://127.0.0.1:9"])
def test_only_raw_samples_can_be_assessed(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigurationError, match="no raw samples"):
        assess(["--source", source, "--state", str(tmp_path)])
    with pytest.raises(ConfigurationError, match="at least --samples 20000"):
        assess(["--source", "file:x", "--state", str(tmp_path), "--samples", "5"])


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--restart-samples", "40000"),
        ("--settle-seconds", "nan"),
        ("--frequency", "-1"),
        ("--sample-rate", "0"),
        ("--gain", "-5"),
        ("--raw-file", "/nowhere/raw"),
    ],
)
def test_what_would_fail_after_minutes_is_refused_at_once(tmp_path: Path, flag: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{flag}: "):
        assess(["--source", "rtl_tcp://127.0.0.1:9", "--state", str(tmp_path), flag, value])


def test_a_receiver_that_is_not_there_is_one_line(tmp_path: Path, capsys) -> None:
    assert assess(["--source", "rtl_tcp://127.0.0.1:9", "--state", str(tmp_path)]) == 1
    assert "error: rtl_tcp://127.0.0.1:9 cannot be reached" in capsys.readouterr().err
    capture = write_capture(tmp_path / "c.iq", 1)
    assert assess(["--source", f"file:{capture}?once", "--state", str(tmp_path)]) == 1
    assert "has ended (ended)" in capsys.readouterr().err
    assert not (tmp_path / "site-report.json").exists()


def signed_report(folder: Path, **changes: object) -> bytes:
    from entropyd.assessment.site_report import SiteReport, write_report

    values: dict[str, object] = {
        "source_detail": "file:c.iq",
        "sample_rate": 2_400_000,
        "gain_db": None,
        "made_at": "2026-01-01T00:00:00+00:00",
        "version": "0",
        "sample_count": 1_000_000,
        "restart_rows": 1000,
        "restart_columns": 1000,
        "estimates": {},
        "lowest_estimate": 1.2,
        "restart_ok": True,
        "nist_tool": "",
        "raw_sha256": "",
        "credited_bits_per_sample": "1/2",
        "problems": [],
    }
    with StateStore(folder) as store:
        write_report(SiteReport(**(values | changes)), store.private_key, folder)  # type: ignore[arg-type]
        from entropyd.records.receipts import Signer

        return Signer(store.private_key).verify_key


def test_a_report_counts_only_for_its_own_set_up_and_unchanged(tmp_path: Path) -> None:
    key = signed_report(tmp_path)
    report, problem = read_report(tmp_path, key, source_detail="file:c.iq", tuning=Tuning())
    assert report is not None
    assert (report.min_entropy, problem) == (Fraction(1, 2), "")
    louder = Tuning(gain_db=20.0)
    assert "20 dB" in read_report(tmp_path, key, source_detail="file:c.iq", tuning=louder)[1]
    slower = Tuning(sample_rate=1_024_000)
    assert "1.024 MS/s" in read_report(tmp_path, key, source_detail="file:c.iq", tuning=slower)[1]
    assert "not of 'rtlsdr:0'" in read_report(tmp_path, key, source_detail="rtlsdr:0", tuning=Tuning())[1]
    assert read_report(tmp_path / "nowhere", key, source_detail="x", tuning=Tuning()) == (None, "")
    path = tmp_path / "site-report.json"
    path.write_text(path.read_text().replace("1/2", "9/2"))
    assert "not signed" in read_report(tmp_path, key, source_detail="file:c.iq", tuning=Tuning())[1]
    path.write_text("{")
    assert "cannot be read" in read_report(tmp_path, key, source_detail="file:c.iq", tuning=Tuning())[1]
    signed_report(tmp_path, credited_bits_per_sample="4/5")
    assert "allows no more" in read_report(tmp_path, key, source_detail="file:c.iq", tuning=Tuning())[1]
    signed_report(tmp_path, problems=["health test carrier failed while gathering"])
    assert "carrier" in read_report(tmp_path, key, source_detail="file:c.iq", tuning=Tuning())[1]


def test_the_daemon_credits_by_the_report_and_says_so(daemon, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "c.iq", 4)
    state = tmp_path / "state"
    signed_report(state)
    with daemon("--source", f"file:{capture}", "--state", str(state)) as running:
        status = json.loads(get(running.http, "/api/status")[1])
    assert (status["min_entropy_bits_per_sample"], status["assessment"]) == (0.5, "site assessment")
    with daemon("--source", f"file:{capture}", "--state", str(tmp_path / "other")) as running:
        status = json.loads(get(running.http, "/api/status")[1])
    assert (status["min_entropy_bits_per_sample"], status["assessment"]) == (0.1, "unassessed")
    assert any("entropyd assess" in warning for warning in status["warnings"])


def fake_tool(folder: Path, script: str) -> str:
    path = folder / "ea_non_iid"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the tool")
def test_what_nists_tool_says_is_read_and_compared(tmp_path: Path) -> None:
    samples = np.frombuffer(SyntheticReceiver(6).chunk(50_000), np.uint8)
    ours = estimate_all(samples)
    output = (
        f"Most Common Value Estimate (bit string) = {ours.bit_common_value:.6f} / 1 bit(s)\n"
        f"Most Common Value Estimate = {ours.common_value + 0.2:.6f} / 8 bit(s)\n"
        f"Markov Test Estimate (bit string) = {ours.bit_markov:.6f} / 1 bit(s)\n"
        "H_original: 1.360000\nH_bitstring: 0.200000\n"
    )
    tool = fake_tool(tmp_path, f'test "$1" = -v && test "$3" = 8 && test -s "$2" && printf %s "{output}"\n')
    found, text = run_nist_tool(samples, tool)
    assert nist_results(found) == [1.36, 1.6]
    assert text == "H_original 1.360, H_bitstring 0.200"
    (difference,) = compare_with_ours(found, ours)
    assert difference.startswith("common_value: ea_non_iid says")
    assert run_nist_tool(samples, str(tmp_path / "missing")) == ({}, "")
    broken = fake_tool(tmp_path, "exit 3\n")
    assert run_nist_tool(samples, broken) == ({}, "ea_non_iid failed with exit code 3")


@pytest.mark.long
def test_a_dongle_is_assessed_over_the_fake_library(dongle: FakeDongle, tmp_path: Path, capsys) -> None:
    pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
    arguments = ["--source", "rtlsdr:", "--state", str(tmp_path), "--settle-seconds", "0.1", "--json"]
    arguments += ["--rtlsdr-library", str(dongle.library.parent), "--samples", "1000000", "--restarts", "12"]
    assert assess(arguments) == 1
    report = json.loads(capsys.readouterr().out)
    assert [p for p in report["problems"] if "trial run" not in p] == [] or not report["restart_ok"]
    assert 1.2 < report["estimates"]["common_value"] < 2.0
