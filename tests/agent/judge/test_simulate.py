"""autoresearch simulate: its figures recounted from the raw file, its verdicts replayed through the judge."""

import csv
import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from agent.judging.judge import JudgePolicy, judge
from agent.judging.noise import estimate_noise
from agent.judging.simulate import main
from agent.judging.simulated_world import SHAPES
from agent.verdict import Pair, Verdict

Row = dict[str, str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, float]], list[Row]]:
    folder = tmp_path_factory.mktemp("simulate")
    raw, out = folder / "raw.csv.gz", folder / "out.json"
    with pytest.MonkeyPatch.context() as patch, out.open("w") as file:
        patch.setattr("sys.stdout", file)
        assert (
            main(["--sessions", "12", "--proposals", "30", "--seed", "7", "--json", "--raw", str(raw)]) == 0
        )
    with gzip.open(raw, "rt") as rows:
        return json.loads(out.read_text())["rules"], list(csv.DictReader(rows))


@pytest.mark.parametrize("rule", ["judge", "greedy", "bootstrap3"])
def test_the_figures_can_be_recounted_from_the_raw_file(
    played: tuple[dict[str, dict[str, float]], list[Row]], rule: str
) -> None:
    figures, rows = played[0][rule], [row for row in played[1] if row["rule"] == rule]
    verdicts = [row for row in rows if row["role"] == "verdict"]
    null = [row for row in verdicts if row["sessions"] == "null"]
    mixed = [row for row in verdicts if row["sessions"] == "mixed"]
    assert len(null) == len(mixed) == 12 * 30
    false_keeps = {row["session"] for row in null if row["verdict"] == "keep"}
    better = [row for row in mixed if row["better"] == "1"]
    runs = [row for row in rows if row["sessions"] == "mixed" and row["role"] in ("candidate", "incumbent")]
    replicates = [row for row in rows if row["sessions"] == "mixed" and row["role"] == "replicate"]
    kept = sum(row["verdict"] == "keep" for row in better)
    assert figures["false_keep_rate"] == pytest.approx(len(false_keeps) / 12, abs=1e-4)
    assert figures["power_at_2_sigma"] == pytest.approx(kept / len(better), abs=1e-4)
    assert figures["runs_per_proposal"] == pytest.approx(len(runs) / (12 * 30), abs=1e-3)
    assert figures["startup_runs"] == len(replicates) / 12


def test_the_judge_itself_gives_every_verdict_of_the_simulation(
    played: tuple[dict[str, dict[str, float]], list[Row]],
) -> None:
    """Replays each session in order: noise from replicates and earlier pairs, a verdict after each pair."""
    policy, replayed = JudgePolicy(), 0
    sessions: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in played[1]:
        if row["rule"] == "judge":
            sessions[row["sessions"], row["session"]].append(row)
    for rows in sessions.values():
        incumbent: dict[str, float] = {}
        replicates: list[float] = []
        history: list[list[float]] = []
        scores: dict[str, float] = {}
        for row in rows:
            score = float(row["score"] or "nan")
            match row["role"]:
                case "replicate":
                    replicates.append(score)
                    incumbent[row["seed"]] = score
                case "candidate":
                    scores[row["seed"]] = score
                case "incumbent":
                    incumbent[row["seed"]] = score
                case "verdict":
                    pairs = [Pair(int(seed), value, incumbent[seed]) for seed, value in scores.items()]
                    noise = estimate_noise(replicates, history)
                    number = int(row["proposal"])
                    verdicts = [
                        judge(pairs[:count], noise, policy, number=number).verdict
                        for count in range(1, len(pairs) + 1)
                    ]
                    assert all(verdict is Verdict.RETEST for verdict in verdicts[:-1])
                    assert verdicts[-1] == row["verdict"]
                    history.append([pair.difference for pair in pairs])
                    if row["verdict"] == "keep":
                        incumbent = dict(scores)
                    scores, replayed = {}, replayed + 1
    assert replayed == 2 * 12 * 30


def test_the_same_seed_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--sessions", "5", "--proposals", "8", "--json", "--seed"]
    outputs = []
    for seed in ("3", "3", "4"):
        assert main([*arguments, seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.parametrize("sessions", ["80", pytest.param("1000", marks=pytest.mark.long)])
def test_the_targets_hold_whatever_the_share_of_the_seed(
    sessions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """False keeps at most 5 %, power at least 80 %, at most 2.5 runs a proposal."""
    for share in ("0", "0.9"):
        assert main(["--sessions", sessions, "--seed", "11", "--seed-share", share, "--json"]) == 0
        rules = json.loads(capsys.readouterr().out)["rules"]
        assert rules["judge"]["false_keep_rate"] <= 0.05
        assert rules["judge"]["power_at_2_sigma"] >= 0.8
        assert rules["judge"]["runs_per_proposal"] <= 2.5
        assert rules["judge"]["startup_runs"] <= 10
        assert rules["greedy"]["false_keep_rate"] > 0.9


@pytest.mark.long
def test_false_keeps_stay_bounded_when_proposals_differ_in_noise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for spread in ("0.3", "0.6", "1.0"):
        assert main(["--sessions", "1000", "--seed", "5", "--noise-spread", spread, "--json"]) == 0
        judged = json.loads(capsys.readouterr().out)["rules"]["judge"]
        assert judged["false_keep_rate"] <= 0.05
        assert judged["power_at_2_sigma"] >= 0.8


@pytest.mark.parametrize("sessions", ["40", pytest.param("600", marks=pytest.mark.long)])
@pytest.mark.parametrize("noise", ["student3", "contaminated", "setbacks", "drift"])
def test_the_targets_hold_where_noise_is_not_normal(
    noise: str, sessions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--sessions", sessions, "--seed", "11", "--noise", noise, "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)["rules"]["judge"]
    assert judged["false_keep_rate"] <= 0.05
    assert judged["power_at_2_sigma"] >= 0.8
    assert judged["runs_per_proposal"] <= 2.55


@pytest.mark.parametrize("noise", ["normal", "student3", "contaminated", "setbacks"])
def test_every_shape_of_noise_has_the_same_variance(noise: str) -> None:
    draws = SHAPES[noise](np.random.default_rng(3), 400_000)
    assert float(draws.var()) == pytest.approx(1.0, abs=0.1)
    assert (float(np.abs(draws).max()) > 6) is (noise != "normal")


def test_without_json_it_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sessions", "3", "--proposals", "4"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[3:]] == ["judge", "greedy", "bootstrap3"]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--sessions", "0"], "--sessions"),
        (["--proposals", "many"], "--proposals"),
        (["--replicates", "11"], "--replicates"),
        (["--better-share", "1.5"], "--better-share"),
        (["--seed-share", "1"], "--seed-share"),
        (["--noise", "cauchy"], "--noise"),
        (["--seed", "-1"], "--seed"),
        (["--effect", "nan"], "--effect"),
        (["--noise-spread", "-0.5"], "--noise-spread"),
    ],
)
def test_a_wrong_flag_is_named(flags: list[str], names: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(flags)
    assert caught.value.code == 2
    assert names in capsys.readouterr().err


def test_without_anything_better_the_power_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sessions", "2", "--proposals", "2", "--better-share", "0", "--json"]) == 0
    text = capsys.readouterr().out
    assert "NaN" not in text
    assert json.loads(text)["rules"]["judge"]["power_at_2_sigma"] is None


def test_a_raw_file_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "raw.csv"
    assert main(["--sessions", "1", "--proposals", "1", "--raw", str(path)]) == 1
    assert "--raw" in capsys.readouterr().err
