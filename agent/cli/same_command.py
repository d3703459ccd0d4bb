"""The flags that a command needs to be given again, as text to copy."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "autoresearch"
COMPOSE_OPTIONS = "AUTORESEARCH_COMPOSE_OPTIONS"
"""Set for the session of a compose container, to its options: what is copied is then typed on the host."""


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


def command(verb: str, lab: Path | str, tag: str = "lab", more: str = "") -> str:
    """`autoresearch VERB --lab LAB …` as a shell takes it, in any folder."""
    options = os.environ.get(COMPOSE_OPTIONS)  # noqa: TID251 - how the command was started, as in program()
    if options is not None:
        return _by_compose(verb, lab_flags(str(lab), tag), more, options)
    return f"{program()} {verb}{lab_flags(str(lab), tag)}{more}"


def _by_compose(verb: str, flags: str, more: str, options: str) -> str:
    if verb == "run":
        return "docker compose run agent" + (
            f" container --options {shlex.quote(options)}" if options else ""
        )
    if verb in ("history", "report"):  # from the volume: the agentd of this container may be gone by then
        return f"docker compose run --rm agent {verb}{flags}"
    return f"docker compose run --rm agent {verb}{flags}{more}"


def program() -> str:
    """How a shell finds this installation's command: by its name, else by its path.

    `make run` and `uv run` start it without its folder being on the shell's PATH.
    """
    own = Path(sys.executable).with_name(PROGRAM + (".exe" if sys.platform == "win32" else ""))
    if not own.exists():
        return PROGRAM
    found = None if "UV" in os.environ else shutil.which(PROGRAM)  # noqa: TID251 - only whether uv started us
    return PROGRAM if found is not None and own.samefile(found) else shlex.quote(str(own))
