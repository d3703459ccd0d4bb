"""What a session has found to do nothing: changes that left every score equal to the last digit.

Only exact equality on equal seeds says so: whatever reaches the training at all moves the last digits. A knob
may be idle because another one switches it off (n-gram tables where the budget lasts for more than one pass),
so what was found holds until a kept change of structure or code, and for a number of proposals at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.proposer import Trial
from agent.search.space import PARAMETERS, Value
from agent.verdict import Verdict

REST = 25
"""Proposals after which an idle change may be tried again; a person may have changed the code."""
_KEPT = (Verdict.KEEP, Verdict.EQUIVALENT)
_DEAD = 2  # idle values of one number after which none is tried: one may have been lost in rounding


def idle_values(trials: Sequence[Trial], next_number: int) -> dict[str, set[object]]:
    """For each name the values that changed nothing, as long as that holds."""
    found: dict[tuple[str, object], int] = {}
    for trial in trials:
        if trial.verdict in _KEPT and (not trial.changes or any(map(_is_structure, trial.changes))):
            found.clear()
        elif trial.difference == 0.0:
            found.update(((name, _plain(value)), trial.number) for name, value in trial.changes.items())
    idle: dict[str, set[object]] = {}
    for (name, value), number in found.items():
        if next_number - number <= REST:
            idle.setdefault(name, set()).add(value)
    return idle


def without_idle(
    changes: Mapping[str, Value], block: Mapping[str, Value], idle: Mapping[str, set[object]]
) -> dict[str, Value]:
    """The changes that may do something."""
    nothing: set[object] = set()
    return {
        name: value
        for name, value in changes.items()
        if not _is_idle(name, value, block, idle.get(name, nothing))
    }


def _is_idle(name: str, value: Value, block: Mapping[str, Value], tried: set[object]) -> bool:
    """A choice that was tried; a number on the way from the incumbent's to one that was, or after two."""
    place, present = _number(value), _number(block.get(name))
    if _is_choice(name) or place is None:
        return value in tried
    if len(tried) >= _DEAD or present is None:
        return bool(tried)
    others = [other for other in map(_number, tried) if other is not None]
    return any(min(present, other) <= place <= max(present, other) for other in others)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _plain(value: object) -> object:
    """As the block has it: lists, as JSON brings them back, become tuples."""
    return tuple(value) if isinstance(value, list) else value


def _is_choice(name: str) -> bool:
    parameter = PARAMETERS.get(name)
    return parameter is None or bool(parameter.choices) or parameter.kind == "switch"


def _is_structure(name: str) -> bool:
    """Whether the name may switch others on: a choice, or what decides the size of a run."""
    return _is_choice(name) or PARAMETERS[name].around > 0
