"""`autoresearch simulate`: how often each rule keeps what is no better, and what it costs to find what is.

For each rule it plays sessions in which nothing is better (false keeps) and sessions in which a share of
the proposals is (power, runs per proposal). Every rule plays the same worlds. Runs of the candidate and of
the re-measured incumbent count; replicates at the start are printed. Sigma is never given to a rule.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.judging.judge import JudgePolicy
from agent.judging.simulated_rules import play_bootstrap, play_greedy, play_judge
from agent.judging.simulated_world import SHAPES, Outcome, Record, World

RULES = ("judge", "greedy", "bootstrap3")


def simulate(
    world: World, seed: int, policy: JudgePolicy, record: Record | None = None
) -> dict[str, dict[str, float]]:
    """Figures by rule. `world.better_share` holds for the sessions that measure power and runs."""
    figures: dict[str, dict[str, float]] = {}
    for rule in RULES:
        null = _play(rule, "null", _without_effects(world), seed, policy, record)
        mixed = _play(rule, "mixed", world, seed, policy, record)
        figures[rule] = _figures(null, mixed)
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m agent.judging.simulate`; 0 on success, 2 for bad flags."""
    options = _parser().parse_args(arguments)
    world = World(
        sessions=options.sessions,
        proposals=options.proposals,
        better_share=options.better_share,
        effect=options.effect,
        seed_share=options.seed_share,
        noise_spread=options.noise_spread,
        noise=options.noise,
    )
    policy = JudgePolicy(replicates=options.replicates)
    record = Record() if options.raw else None
    figures = simulate(world, options.seed, policy, record)
    if record is not None:
        try:
            _write(Path(options.raw), record)
        except OSError as error:
            print(f"error: --raw {options.raw}: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 1
    settings: dict[str, float | str] = {"sessions": world.sessions, "proposals": world.proposals}
    settings |= {"seed": options.seed}
    settings |= {"better_share": world.better_share, "effect_in_sigmas": world.effect}
    settings |= {"seed_share": world.seed_share, "noise_spread": world.noise_spread, "noise": world.noise}
    if options.json:
        print(json.dumps({"rules": _as_json(figures), "settings": settings}))  # noqa: T201
    else:
        print(_table(figures, world))  # noqa: T201
    return 0


def _play(
    rule: str, kind: str, world: World, seed: int, policy: JudgePolicy, record: Record | None
) -> Outcome:
    random = np.random.default_rng([seed, RULES.index(rule), int(kind == "mixed")])
    if record is not None:
        record.prefix = f"{rule},{kind},"
    if rule == "judge":
        return play_judge(world, random, policy, record)
    return (play_greedy if rule == "greedy" else play_bootstrap)(world, random, record)


def _without_effects(world: World) -> World:
    return replace(world, better_share=0.0)


def _figures(null: Outcome, mixed: Outcome) -> dict[str, float]:
    return {
        "false_keep_rate": round(null.false_keep_rate, 5),
        "power_at_2_sigma": round(mixed.power, 5),
        "runs_per_proposal": round(mixed.runs_per_proposal, 4),
        "startup_runs": mixed.startup,
        "incumbent_runs_per_proposal": round(float(mixed.incumbent_runs.mean()), 4),
        "runs_per_null_proposal": round(null.runs_per_proposal, 4),
        "false_keeps_per_session": round(float((mixed.kept & ~mixed.better).sum(axis=1).mean()), 4),
    }


def _as_json(figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """What is not a number (the power where nothing is better) is null: JSON has no other word for it."""
    return {
        rule: {name: None if math.isnan(value) else value for name, value in row.items()}
        for rule, row in figures.items()
    }


def _table(figures: dict[str, dict[str, float]], world: World) -> str:
    head = (
        f"{world.sessions} sessions of {world.proposals} proposals, {world.better_share:.0%} of them better"
    )
    lines = [f"{head} by {world.effect:g} sigma (false keeps: sessions without any better)", ""]
    lines.append(f"{'rule':12}{'false keeps':>14}{'power':>9}{'runs/proposal':>16}{'at the start':>15}")
    for rule, row in figures.items():
        lines.append(
            f"{rule:12}{row['false_keep_rate']:>14.1%}{row['power_at_2_sigma']:>9.1%}"
            f"{row['runs_per_proposal']:>16.2f}{row['startup_runs']:>15.0f}"
        )
    return "\n".join(lines)


def _write(path: Path, record: Record) -> None:
    text = "\n".join([record.COLUMNS, *record.lines, ""]).encode()
    path.write_bytes(gzip.compress(text, 3, mtime=0) if path.suffix == ".gz" else text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="autoresearch simulate", description=__doc__)
    parser.add_argument("--sessions", type=_count, default=1000)
    parser.add_argument("--proposals", type=_count, default=100)
    parser.add_argument("--seed", type=_seed, default=1)
    parser.add_argument("--replicates", type=_replicates, default=JudgePolicy().replicates, help="2 to 10")
    parser.add_argument("--better-share", type=_share, default=0.1, help="share of proposals that are better")
    parser.add_argument("--effect", type=_size, default=2.0, help="by how many sigmas of the difference")
    parser.add_argument("--seed-share", type=_share, default=0.9, help="correlation of two runs on one seed")
    parser.add_argument("--noise-spread", type=_size, default=0.0, help="how unlike the proposals' noise is")
    parser.add_argument("--noise", choices=SHAPES, default="normal", help="shape of a run's own noise")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--raw", metavar="FILE", help="write every measurement and verdict as CSV (.gz too)")
    return parser


def _count(text: str) -> int:
    return _within(text, int(text) if text.isdigit() else 0, 1, 1_000_000, "a whole number from 1")


def _seed(text: str) -> int:
    return _within(text, int(text) if text.isdigit() else -1, 0, 2**63 - 1, "a whole number from 0")


def _size(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return value


def _replicates(text: str) -> int:
    return _within(text, int(text) if text.isdigit() else 0, 2, 10, "from 2 to 10")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: at least 0, below 1")
    return value


def _within(text: str, value: int, low: int, high: int, wanted: str) -> int:
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
