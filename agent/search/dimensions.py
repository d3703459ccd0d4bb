"""Hyperparameters as coordinates: numbers on [0, 1], by logarithm where the table says so; else names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.search.space import PARAMETERS, Parameter, Value, is_active

_ZERO_PART = 0.1  # of the axis of a decay that may be off


@dataclass(frozen=True)
class Dimension:
    """One searched hyperparameter. `choices` is empty for numbers; `whole`: they must be integers."""

    parameter: Parameter
    choices: tuple[Value, ...]
    whole: bool

    @property
    def name(self) -> str:
        return self.parameter.name

    def to_unit(self, value: Value) -> float:
        """Place of a number on [0, 1]; outside the search range it is the nearer end."""
        low, high = self.parameter.search_range
        number = float(value)  # type: ignore[arg-type]
        if self.parameter.zero and number <= 0:
            return 0.0
        place = _log_place(number, low, high) if self._logarithmic else (number - low) / (high - low)
        place = min(1.0, max(0.0, place))
        return _ZERO_PART + place * (1 - _ZERO_PART) if self.parameter.zero else place

    def from_unit(self, place: float) -> Value:
        """The value at a place, rounded to what a person would write."""
        low, high = self.parameter.search_range
        if self.parameter.zero:
            if place < _ZERO_PART:
                return 0 if self.whole else 0.0
            place = (place - _ZERO_PART) / (1 - _ZERO_PART)
        place = min(1.0, max(0.0, place))
        number = low * (high / low) ** place if self._logarithmic else low + place * (high - low)
        if self.parameter.kind == "power_of_two":
            return int(2 ** round(math.log2(number)))
        if self.whole:
            step = self.parameter.step
            rounded = round(number / step) * step if step > 1 else round(_two_digits(number))
            return int(min(high, max(low, rounded)))
        return min(high, max(low, _two_digits(number)))

    @property
    def _logarithmic(self) -> bool:
        return self.parameter.log or self.parameter.kind == "power_of_two"


def dimensions_of(block: Mapping[str, Value], seen: Sequence[Mapping[str, object]] = ()) -> list[Dimension]:
    """The searched dimensions of a hyperparameter block, in the order of the table.

    `seen` are the values of earlier trials: a choice that is not in the table but was used stays a choice.
    """
    found = []
    for name, parameter in PARAMETERS.items():
        if name not in block or not parameter.searched:
            continue
        present = block[name]
        choices: tuple[Value, ...] = (False, True) if parameter.kind == "switch" else parameter.choices
        for value in [present, *(past[name] for past in seen if name in past)]:
            if choices and value not in choices and type(value) is type(present):
                choices = (*choices, value)
        whole = isinstance(present, int) and not isinstance(present, bool)
        found.append(Dimension(_around(parameter, present), choices, whole))
    return found


def _around(parameter: Parameter, present: Value) -> Parameter:
    if not parameter.around or isinstance(present, bool) or not isinstance(present, int | float):
        return parameter
    low, high = parameter.search_range
    low = min(max(low, present / parameter.around), present)
    high = max(min(high, present * parameter.around), present)
    return replace(parameter, search_low=low, search_high=high)


def active_dimensions(dimensions: Sequence[Dimension], block: Mapping[str, Value]) -> list[Dimension]:
    """Those that do something in this block."""
    return [dimension for dimension in dimensions if is_active(dimension.name, block)]


def plain_values(values: Mapping[str, object]) -> dict[str, object]:
    """The values as the block has them: lists, as JSON brings them back, become tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def complete_changes(changes: Mapping[str, Value], block: Mapping[str, Value]) -> dict[str, Value]:
    """The changes with what they make necessary: a smaller batch needs a device batch that divides it."""
    result = dict(changes)
    old, new, device = (
        block.get("TOTAL_BATCH_SIZE"),
        changes.get("TOTAL_BATCH_SIZE"),
        block.get("DEVICE_BATCH_SIZE"),
    )
    if isinstance(old, int) and isinstance(new, int) and isinstance(device, int) and new < old:
        result["DEVICE_BATCH_SIZE"] = max(1, device * new // old)
    return result


def model_width(block: Mapping[str, Value]) -> int | None:
    """Width of the model as the template computes it; None where the block has no such names."""
    depth, ratio, head = (block.get(name) for name in ("DEPTH", "ASPECT_RATIO", "HEAD_DIM"))
    if isinstance(depth, int) and isinstance(ratio, int) and isinstance(head, int) and head > 0:
        return -(-depth * ratio // head) * head
    return None


def _log_place(number: float, low: float, high: float) -> float:
    return 0.0 if number <= low else math.log(number / low) / math.log(high / low)


def _two_digits(number: float) -> float:
    return float(f"{number:.2g}")
