"""The flags that a command needs to be given again, as text to copy. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Commands:
    """What follows `--lab` and `--tag`: `again` where `run` goes on, `peer` where another command asks."""

    again: str = ""
    peer: str = ""


NO_FLAGS = Commands()
DEFAULTS: dict[str, object] = {"provider": "auto", "entropy_source": "auto", "executor": "local"}


def flags_again(**given: object) -> str:
    """` --name value` for each that says something else than the default; "" for none.

    Names are those of the parameters, paths become absolute, so that the text holds in any folder.
    """
    words: list[str] = []
    for name, value in given.items():
        if value is None or value is False or value == "" or value == DEFAULTS.get(name):
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value.absolute()) if isinstance(value, Path) else str(value))
    return " " + shlex.join(words) if words else ""


def lab_flags(lab: str, tag: str) -> str:
    """` --lab LAB`, and the tag unless it is the default one."""
    return " " + shlex.join(["--lab", lab, *(["--tag", tag] if tag != "lab" else [])])
