"""`autoresearch bench search`: search, alone and with a model beside it, against random search on the
shipped surrogate. The model of the `hybrid` arm is simulated (agent/search/simulated_model.py).

Each arm starts from the recorded baseline and makes the same number of proposals; each is measured in
pairs with the recorded noise and judged by the product's own judge. Regret is the true difference between
the incumbent at the end and the surrogate's optimum, in bits per byte. Seeds are paired over the arms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.hybrid_proposer import HybridProposer
from agent.judging.judge import JudgePolicy, judge
from agent.judging.noise import NoiseEstimate
from agent.proposer import Proposer, ResearchContext, Trial
from agent.search.hyperparameters import read_block
from agent.search.parameter_values import spell
from agent.search.proposer import SearchProposer
from agent.search.random_proposer import RandomProposer
from agent.search.simulated_model import SKILL, SimulatedModel
from agent.search.surrogate import Surrogate, load_surrogate
from agent.verdict import Pair, Verdict

ARMS: Mapping[str, Callable[[int, Surrogate, float], Proposer]] = {
    "search": lambda seed, _, __: SearchProposer(seed),
    "hybrid": lambda seed, surrogate, skill: HybridProposer(
        SearchProposer(seed), SimulatedModel(seed, surrogate, skill), key=str(seed)
    ),
    "random": lambda seed, _, __: RandomProposer(seed),
    "random_near": lambda seed, _, __: RandomProposer(seed, most=3),
}


@dataclass(frozen=True)
class Course:
    """One arm on one seed: regret after each proposal, and how many proposals became commits."""

    regret: tuple[float, ...]
    keeps: int
    pairs: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m agent.search.bench`; 0 on success, 2 for bad flags."""
    parser = argparse.ArgumentParser(prog="autoresearch bench search", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--arms", type=_arms, default=tuple(ARMS), help="of search,hybrid,random,random_near")
    parser.add_argument(
        "--model-skill",
        type=float,
        default=SKILL,
        help="how often the simulated model knows a direction, 0 to 1",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.seeds < 2 or options.trials < 1:
        parser.error("--seeds must be at least 2 and --trials at least 1")
    if not 0 <= options.model_skill <= 1:
        parser.error(f"--model-skill {options.model_skill:g} must be from 0 to 1")
    comparing = compare(
        load_surrogate(), options.seeds, options.trials, arms=options.arms, skill=options.model_skill
    )
    figures = asyncio.run(comparing)
    print(json.dumps(figures) if options.json else _table(figures))  # noqa: T201
    return 0


async def compare(
    surrogate: Surrogate,
    seeds: int,
    trials: int,
    *,
    arms: Sequence[str] = tuple(ARMS),
    skill: float = SKILL,
) -> dict[str, object]:
    """Mean regret of each arm and, for each arm but search, the paired difference with its 95 % interval."""
    courses = {
        arm: [
            await run_course(ARMS[arm](seed, surrogate, skill), surrogate, seed, trials)
            for seed in range(seeds)
        ]
        for arm in dict.fromkeys(("search", *arms))
    }
    paired = {
        arm: _paired([a.regret[-1] - b.regret[-1] for a, b in zip(courses["search"], found, strict=True)])
        for arm, found in courses.items()
        if arm != "search"
    }
    return {
        "arms": {arm: _figures(found, trials) for arm, found in courses.items()},
        "search_minus": paired,
        "seeds": seeds,
        "trials": trials,
        "simulated_model_skill": skill,
        "optimum": round(surrogate.optimum(), 5),
    }


async def run_course(proposer: Proposer, surrogate: Surrogate, seed: int, trials: int) -> Course:
    """One session on the surrogate with a known noise; the judge sees measurements only."""
    policy, noise = JudgePolicy(), NoiseEstimate(surrogate.noise, 30.0, 60.0, 5)
    best = surrogate.optimum()
    source, level, history = source_of(surrogate.baseline), 0.0, list[Trial]()
    regret: list[float] = []
    keeps = pairs_used = 0
    for number in range(1, trials + 1):
        draft = await proposer.propose(ResearchContext(source, 0.0, noise.sigma, history, next_number=number))
        if draft is None:
            regret.append(level - best)
            continue
        block = read_block(draft.source)
        truth = surrogate.difference(block) - level
        measuring = random.Random(f"{seed}/{number}/noise")
        pairs: list[Pair] = []
        while True:
            pairs.append(Pair(len(pairs), truth + measuring.gauss(0, surrogate.noise), 0.0))
            judgement = judge(pairs, noise, policy, number=number)
            if judgement.verdict is not Verdict.RETEST:
                break
        trial = Trial(
            number,
            draft.description,
            draft.changes,
            block,
            judgement.verdict,
            level + judgement.mean_difference,
            judgement.mean_difference,
            judgement.reason,
            "",
            draft.token,
        )
        history.append(trial)
        await proposer.learn(trial)
        pairs_used += len(pairs)
        if judgement.verdict is Verdict.KEEP:
            source, level, keeps = draft.source, level + truth, keeps + 1
        regret.append(level - best)
    await proposer.close()
    return Course(tuple(regret), keeps, pairs_used)


def source_of(block: Mapping[str, object]) -> str:
    """A file that holds nothing but a hyperparameter block."""
    return "".join(f"{name} = {spell(value)}\n" for name, value in block.items())  # type: ignore[arg-type]


def _figures(courses: Sequence[Course], trials: int) -> dict[str, float]:
    return {
        "regret": round(statistics.fmean(course.regret[-1] for course in courses), 5),
        "regret_halfway": round(statistics.fmean(course.regret[trials // 2 - 1] for course in courses), 5),
        "keeps": round(statistics.fmean(course.keeps for course in courses), 2),
        "pairs_per_proposal": round(statistics.fmean(course.pairs for course in courses) / trials, 3),
    }


def _paired(differences: Sequence[float]) -> dict[str, float]:
    """Mean of the paired differences and its bootstrap interval, 2,000 resamples."""
    drawing = random.Random(0)
    means = sorted(statistics.fmean(drawing.choices(differences, k=len(differences))) for _ in range(2000))
    return {
        "mean": round(statistics.fmean(differences), 5),
        "low": round(means[49], 5),
        "high": round(means[1949], 5),
        "wins": sum(difference < 0 for difference in differences),
    }


def _arms(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)!r} is not one of {', '.join(ARMS)}")
    return names


def _table(figures: Mapping[str, object]) -> str:
    lines = [f"{figures['seeds']} seeds, {figures['trials']} proposals each; regret in bits per byte", ""]
    if "hybrid" in figures["arms"]:  # type: ignore[operator]
        skill = figures["simulated_model_skill"]
        lines[1:] = [
            f"hybrid: its model is simulated, knows a better direction with probability {skill:g}",
            "",
        ]
    lines.append(f"{'arm':14}{'regret':>10}{'halfway':>10}{'keeps':>8}{'pairs':>8}")
    for arm, row in figures["arms"].items():  # type: ignore[attr-defined]
        lines.append(
            f"{arm:14}{row['regret']:>10.4f}{row['regret_halfway']:>10.4f}{row['keeps']:>8.1f}"
            f"{row['pairs_per_proposal']:>8.2f}"
        )
    for arm, row in figures["search_minus"].items():  # type: ignore[attr-defined]
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        lines.append(
            f"search minus {arm}: {row['mean']:+.4f} (95 % {interval}), better on {row['wins']} seeds"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
