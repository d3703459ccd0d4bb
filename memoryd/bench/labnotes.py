"""A synthetic lab notebook with questions whose right answers are known by construction.

Everything follows from a seed: sessions of experiments on a hidden truth table, verdicts that later ones
supersede, and six kinds of questions (cells). Nothing of it comes from anybody's data.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from memoryd.bench.labnotes_knobs import KNOBS, NEVER_TRIED, held_out

DEPTHS = (4, 8, 12, 16)
DEVICES = ("H100", "RTX 4090", "RTX 3060", "A100")
CELLS = ("exact", "paraphrase", "latest", "temporal", "repeat", "abstain")
START = 1_767_225_600  # 2026-01-01
_UP = ("raised", "increased", "bumped up")
_DOWN = ("lowered", "reduced", "cut")
_RESULT = {
    "keep": ("kept", "improved, kept", "better, merged"),
    "discard": ("discarded", "worse, reverted", "no gain, discarded"),
    "crash": ("crashed with out of memory", "crashed: loss became nan"),
}


@dataclass(frozen=True)
class Note:
    """One memory. `created` in seconds since 1970; `session` groups notes of one night."""

    memory_id: int
    text: str
    created: int
    session: int


@dataclass(frozen=True)
class Question:
    """`gold` answers it (empty: nobody tried); `superseded` were right once; `cluster` for the bootstrap.

    `part` of its cell: "dev" for what weights and words were chosen on, "held-out" for what they were not.
    """

    cell: str
    text: str
    gold: frozenset[int]
    cluster: str
    superseded: frozenset[int] = frozenset()
    part: str = ""


@dataclass(frozen=True)
class Notebook:
    notes: tuple[Note, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class _Run:
    memory_id: int
    knob: int
    is_up: bool
    depth: int
    device: str
    old: str
    new: str
    commit: str
    status: str


@dataclass
class _Writer:
    rng: random.Random
    notes: list[Note] = field(default_factory=list)
    runs: list[_Run] = field(default_factory=list)
    verdicts: dict[tuple[int, bool, int], list[int]] = field(default_factory=dict)
    clock: int = START

    def add(self, text: str, session: int) -> int:
        self.clock += self.rng.randrange(300, 900)
        self.notes.append(Note(len(self.notes) + 1, text, self.clock, session))
        return len(self.notes)


def make_notebook(seed: int, *, notes: int = 5000, questions_per_cell: int = 200) -> Notebook:
    """The notebook of a seed. `notes` counts all memories; at least 1,000."""
    rng = random.Random(seed)
    writer = _Writer(rng)
    truth = {
        (knob, is_up, depth): rng.random() < 0.35
        for knob in range(len(KNOBS))
        for is_up in (True, False)
        for depth in DEPTHS
    }
    groups = sorted(truth)
    rng.shuffle(groups)
    verdict_count = min(len(groups), questions_per_cell)
    plain = notes - 2 * verdict_count
    moments = sorted(rng.sample(range(plain), 2 * verdict_count))
    order = [*groups[:verdict_count]]
    first, second = list(order), list(order)
    rng.shuffle(first)
    rng.shuffle(second)
    due = iter([*first, *second])
    session = 0
    for number in range(plain):
        if number % 50 == 0:
            session += 1
            device, minutes = rng.choice(DEVICES), rng.choice((5, 10, 30))
            writer.clock += 20_000
        _write_run(writer, truth, session, device, minutes)
        while moments and moments[0] <= number:
            moments.pop(0)
            _write_verdict(writer, next(due), session)
    for group in due:
        _write_verdict(writer, group, session)
    return Notebook(tuple(writer.notes), tuple(_ask(writer, questions_per_cell)))


def _write_run(
    writer: _Writer, truth: dict[tuple[int, bool, int], bool], session: int, device: str, minutes: int
) -> None:
    rng = writer.rng
    knob, depth = rng.randrange(len(KNOBS)), rng.choice(DEPTHS)
    values = KNOBS[knob].values
    low = rng.randrange(len(values) - 1)
    high = rng.randrange(low + 1, len(values))
    is_up = rng.random() < 0.5
    old, new = (values[low], values[high]) if is_up else (values[high], values[low])
    helps = truth[knob, is_up, depth] != (rng.random() < 0.1)
    status = "crash" if rng.random() < 0.06 else "keep" if helps else "discard"
    base = 0.98 + rng.random() * 0.2
    change = (-1 if helps else 1) * rng.uniform(0.0005, 0.006)
    commit = f"{rng.randrange(16**7):07x}"
    verb = rng.choice(_UP if is_up else _DOWN)
    name, result = rng.choice(KNOBS[knob].names), rng.choice(_RESULT[status])
    numbers = "" if status == "crash" else f" val_bpb {base:.4f} -> {base + change:.4f},"
    text = rng.choice(
        (
            f"{verb} {name} from {old} to {new} at depth {depth} on {device} ({minutes} min):{numbers} "
            f"{result}. commit {commit}",
            f"[{commit}] depth {depth}, {device}: {name} {old} -> {new}.{numbers} {result}",
            f"Tried {name} = {new} (was {old}) for a d{depth} model, budget {minutes} min on "
            f"{device};{numbers} "
            f"{result} ({commit})",
        )
    )
    memory_id = writer.add(text, session)
    writer.runs.append(_Run(memory_id, knob, is_up, depth, device, old, new, commit, status))


def _write_verdict(writer: _Writer, group: tuple[int, bool, int], session: int) -> None:
    knob, is_up, depth = group
    earlier = writer.verdicts.setdefault(group, [])
    helps = (writer.rng.random() < 0.5) if not earlier else "does not" in writer.notes[earlier[-1] - 1].text
    verb = "raising" if is_up else "lowering"
    says = "helps" if helps else "does not help"
    name = writer.rng.choice(KNOBS[knob].names)
    text = f"Verdict: {verb} {name} {says} at depth {depth}" + (
        f" (measured again over {writer.rng.randrange(3, 9)} seeds)" if earlier else ""
    )
    earlier.append(writer.add(text + ".", session))


def _ask(writer: _Writer, per_cell: int) -> Iterator[Question]:
    rng, runs = writer.rng, writer.runs
    session_of = {note.memory_id: note.session for note in writer.notes}

    def cluster(run: _Run) -> str:
        return f"session {session_of[run.memory_id]}"

    for run in rng.sample(runs, per_cell):
        name = rng.choice(KNOBS[run.knob].names)
        if rng.random() < 0.5:
            yield Question("exact", f"what happened in commit {run.commit}?", _ids(run), cluster(run))
        else:
            text = f"{name} {run.old} to {run.new} at depth {run.depth} on {run.device}"
            gold = frozenset(
                one.memory_id
                for one in runs
                if (one.knob, one.old, one.new, one.depth, one.device)
                == (run.knob, run.old, run.new, run.depth, run.device)
            )
            yield Question("exact", text, gold, cluster(run))
    for run in rng.sample(runs, per_cell):
        verb = "a larger value" if run.is_up else "a smaller value"
        phrase = rng.choice(KNOBS[run.knob].paraphrases)
        text = f"did {verb} for the {phrase} pay off at depth {run.depth}?"
        gold = frozenset(one.memory_id for one in runs if (one.knob, one.depth) == (run.knob, run.depth))
        gold |= {
            ids[0] for group, ids in writer.verdicts.items() if (group[0], group[2]) == (run.knob, run.depth)
        }
        gold |= {
            ids[-1] for group, ids in writer.verdicts.items() if (group[0], group[2]) == (run.knob, run.depth)
        }
        part = "held-out" if phrase in held_out() else "dev"
        yield Question("paraphrase", text, gold, f"knob {run.knob}", part=part)
    for (knob, is_up, depth), ids in rng.sample(
        sorted(writer.verdicts.items()), min(per_cell, len(writer.verdicts))
    ):
        verb = "raising" if is_up else "lowering"
        text = f"verdict: does {verb} {rng.choice(KNOBS[knob].names)} help at depth {depth}?"
        yield Question("latest", text, frozenset(ids[-1:]), f"knob {knob}", frozenset(ids[:-1]))
    following = {one.memory_id: other for one, other in zip(writer.notes, writer.notes[1:], strict=False)}
    for run in rng.sample([run for run in runs if run.memory_id in following], per_cell):
        then = following[run.memory_id]
        text = f"what did we try right after commit {run.commit}?"
        yield Question("temporal", text, frozenset({then.memory_id}), cluster(run))
    for run in rng.sample([run for run in runs if run.status == "discard"], per_cell):
        verb = "raise" if run.is_up else "lower"
        name = rng.choice(KNOBS[run.knob].names)
        text = f"proposal: {verb} the {name} to {run.new} for the depth {run.depth} model"
        gold = frozenset(
            one.memory_id
            for one in runs
            if (one.knob, one.new, one.depth, one.is_up) == (run.knob, run.new, run.depth, run.is_up)
        )
        yield Question("repeat", text, gold, f"knob {run.knob}")
    for number in range(per_cell):
        idea = NEVER_TRIED[number % len(NEVER_TRIED)]
        text = rng.choice(
            (
                f"did {idea} help at depth {rng.choice(DEPTHS)}?",
                f"proposal: add {idea} on {rng.choice(DEVICES)}",
                f"what happened when we tried {idea}?",
            )
        )
        yield Question("abstain", text, frozenset(), f"idea {number % len(NEVER_TRIED)}")


def _ids(run: _Run) -> frozenset[int]:
    return frozenset({run.memory_id})
