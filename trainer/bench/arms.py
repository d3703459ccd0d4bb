"""Arms of a comparison: a preset's train.py with changes, as `NAME=VALUE` after the arm's name.

`default`, a preset's name, or `label:NAME=VALUE,NAME=VALUE` on top of the base preset, for example
`bigram:NGRAM_ORDER=2`.
"""

import ast
import re
from dataclasses import dataclass

from trainer.presets import PRESETS, Preset, Value, find_preset
from trainer.templates import research_file


@dataclass(frozen=True)
class Arm:
    """A label and the text of the train.py it runs."""

    label: str
    text: str


def parse_arms(specification: str, base: Preset) -> list[Arm]:
    """Arms from `default,bigram:NGRAM_ORDER=2;HEAD_GATES=True,seed-h100`.

    Commas separate arms, semicolons the changes of one. Raises ValueError that names the wrong part.
    """
    arms = [_parse_arm(part.strip(), base) for part in specification.split(",") if part.strip()]
    labels = [arm.label for arm in arms]
    if len(set(labels)) != len(labels) or not arms:
        raise ValueError(f"--arms needs distinct names, not {specification!r}")
    return arms


def _parse_arm(part: str, base: Preset) -> Arm:
    label, _, changes_text = part.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", label):
        raise ValueError(f"an arm's name is letters, digits, dots and dashes, not {label!r}")
    if not changes_text:
        preset = base if label == "default" else find_preset(label)
        return Arm(label, research_file(preset))
    origin = PRESETS.get(label, base)
    changes: dict[str, Value] = {}
    for change in changes_text.split(";"):
        name, equals, literal = change.partition("=")
        try:
            changes[name.strip()] = _evaluate(literal)
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"arm {label!r}: {change!r} is not NAME=LITERAL") from error
        if not equals:
            raise ValueError(f"arm {label!r}: {change!r} is not NAME=LITERAL")
    return Arm(label, research_file(origin.with_values(changes)))


def _evaluate(literal: str) -> Value:
    power = re.fullmatch(r"\s*(\d+)\s*\*\*\s*(\d+)\s*", literal)
    if power:
        return int(pow(int(power.group(1)), int(power.group(2))))
    value: Value = ast.literal_eval(literal.strip())
    return value
