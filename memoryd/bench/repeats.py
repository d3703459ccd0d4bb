"""`memoryd bench repeats`: whether what was tried before is noticed, and what was not is let be.

Experiments of a seed are remembered with a diff, with hyperparameters, or in words alone; then each is tried
again spelt another way, and as a near miss that changes the experiment. Right by construction.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memoryd.bench.labnotes_knobs import KNOBS
from memoryd.repeats import RepeatIndex

EXPERIMENTS = 600
PROBES = 100  # of each kind
DEPTHS = (4, 8, 12, 16)


@dataclass(frozen=True)
class Trial:
    """A knob is set from `old` to `new` at a depth; `name` is which of its names the note uses."""

    knob: int
    old: float
    new: float
    depth: int
    name: int

    def repeats(self, other: Trial, *, in_words: bool) -> bool:
        """Whether both lead to one configuration; a diff and settings say where from as well."""
        same = (self.knob, self.new, self.depth) == (other.knob, other.new, other.depth)
        return same and (in_words or self.old == other.old)


Writer = Callable[[Trial, random.Random], dict[str, str]]


def measure(seed: int) -> dict[str, dict[str, float]]:
    """Precision and recall by kind of repeat: of what was found, and of the probes that are repeats."""
    rng = random.Random(seed)
    figures = {}
    for kind, (first, again, miss) in KINDS.items():
        trials = [_trial(rng) for _ in range(EXPERIMENTS)]
        index = RepeatIndex()
        for number, trial in enumerate(trials):
            index.add(number, first(trial, rng))
        probes = [(trial, again(trial, rng)) for trial in rng.sample(trials, PROBES)]
        misses = [(other, again(other, rng)) for other in map(miss, rng.sample(trials, PROBES))]
        figures[kind] = _rates(trials, index, [*probes, *misses], in_words=kind.startswith("words"))
    return figures


def _rates(
    trials: list[Trial],
    index: RepeatIndex,
    probes: list[tuple[Trial, dict[str, str]]],
    *,
    in_words: bool,
) -> dict[str, float]:
    found_count = right_count = noticed = repeats = 0
    for trial, tags in probes:
        gold = {number for number, one in enumerate(trials) if one.repeats(trial, in_words=in_words)}
        found = {repeat.memory_id for repeat in index.find(tags)}
        found_count += len(found)
        right_count += len(found & gold)
        repeats += bool(gold)
        noticed += bool(found & gold)
    return {
        "precision": round(right_count / found_count, 4) if found_count else 1.0,
        "recall": round(noticed / repeats, 4),
        "repeats": repeats,
        "others": len(probes) - repeats,
    }


def _trial(rng: random.Random) -> Trial:
    old, new = rng.sample([0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8], 2)
    return Trial(rng.randrange(len(KNOBS)), old, new, rng.choice(DEPTHS), rng.randrange(2))


def _diff(trial: Trial, rng: random.Random) -> dict[str, str]:
    name = KNOBS[trial.knob].names[0]
    lines = [
        "--- a/train.py",
        "+++ b/train.py",
        f"@@ -{rng.randrange(9, 90)},2 +{rng.randrange(9, 90)},2 @@",
        f"-DEPTH = 0\n+DEPTH = {trial.depth}",
        f"-{name} = {trial.old}",
        f"+{name} = {trial.new}",
    ]
    return {"text": f"try {rng.random()}", "diff": "\n".join(lines)}


def _diff_respelt(trial: Trial, rng: random.Random) -> dict[str, str]:
    tags = _diff(trial, rng)
    text = tags["diff"].replace("train.py", "work/train.py").replace(" = ", rng.choice(("=", "  =  ", " = ")))
    for value in {trial.old, trial.new}:
        text = text.replace(f"{value}\n", f"{value:.3e}\n").replace(f"-{value}", f"-{value:.3f}")
    return {**tags, "diff": text + rng.choice(("  # as before", "", "\n unchanged\n+\n"))}


def _numbers(trial: Trial, rng: random.Random) -> dict[str, str]:
    settings = {"depth": float(trial.depth), "batch": 2.0**17, "was": trial.old}
    return {
        "text": f"try {rng.random()}",
        "hyperparameters": json.dumps({**settings, KNOBS[trial.knob].names[0]: trial.new}),
    }


def _numbers_respelt(trial: Trial, rng: random.Random) -> dict[str, str]:
    value = trial.new * (1 + rng.uniform(-0.005, 0.005))
    pairs = [
        f"{KNOBS[trial.knob].names[0].lower()}={value:.8g}",
        f"was = {trial.old:.4e}",
        "batch=2**17",
        f"DEPTH={trial.depth}",
    ]
    rng.shuffle(pairs)
    return {"text": f"try {rng.random()}", "hyperparameters": ", ".join(pairs)}


def _words(trial: Trial, rng: random.Random) -> dict[str, str]:
    name = KNOBS[trial.knob].names[trial.name]
    verb = "raised" if trial.new > trial.old else "lowered"
    return {"text": f"{verb} {name} from {trial.old} to {trial.new} at depth {trial.depth}"}


def _words_respelt(trial: Trial, rng: random.Random) -> dict[str, str]:
    name = KNOBS[trial.knob].names[trial.name]
    verb = "Raised" if trial.new > trial.old else "Lowered"
    return {"text": f"At depth {trial.depth}: {verb} the {name}, from {trial.old:.3f} to {trial.new:.1e}."}


def _words_other(trial: Trial, rng: random.Random) -> dict[str, str]:
    name = KNOBS[trial.knob].names[1 - trial.name]
    return {
        "text": rng.choice(
            (
                f"d{trial.depth} model, {name} {trial.old} -> {trial.new}: val_bpb 0.9812 -> 0.9798, kept",
                f"proposal: set {name} = {trial.new} (was {trial.old}) for the depth {trial.depth} model",
            )
        )
    }


def _words_described(trial: Trial, rng: random.Random) -> dict[str, str]:
    phrase = rng.choice(KNOBS[trial.knob].paraphrases)
    return {"text": f"change the {phrase} from {trial.old} to {trial.new} at depth {trial.depth}"}


def _other_value(trial: Trial) -> Trial:
    return Trial(trial.knob, trial.old, round(trial.new * 1.1, 6), trial.depth, trial.name)


def _other_knob(trial: Trial) -> Trial:
    return Trial((trial.knob + 1) % len(KNOBS), trial.old, trial.new, trial.depth, trial.name)


KINDS: dict[str, tuple[Writer, Writer, Callable[[Trial], Trial]]] = {
    "diff, respelt": (_diff, _diff_respelt, _other_value),
    "hyperparameters, within 0.5 %": (_numbers, _numbers_respelt, _other_value),
    "words, reordered": (_words, _words_respelt, _other_value),
    "words, another name and verb": (_words, _words_other, _other_value),
    "words, described": (_words, _words_described, _other_value),
    "words, another knob": (_words, _words_other, _other_knob),
}


def lines(figures: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "| tried again as | precision | recall | repeats / others |"
    yield "| --- | --- | --- | --- |"
    for kind, one in figures.items():
        counts = f"{one['repeats']:.0f} / {one['others']:.0f}"
        yield f"| {kind} | {one['precision']:.2f} | {one['recall']:.2f} | {counts} |"
