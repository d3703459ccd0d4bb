"""`python -m trainer VERB …`: what can be done without a running daemon."""

from __future__ import annotations

from collections.abc import Sequence


def run_verb(arguments: Sequence[str]) -> int | None:
    """Runs the verb that the first argument names and returns its exit code; None when there is none."""
    verb, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    match verb:
        case "prepare":
            from trainer.data.__main__ import main as prepare

            return prepare(["prepare", *rest])
        case _:
            return None
