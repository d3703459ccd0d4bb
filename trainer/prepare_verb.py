"""`python -m trainer prepare`: trainer.data's preparation, with the preset of this machine's device."""

from __future__ import annotations

from trainer.data.__main__ import main as prepare
from trainer.devices import preset_here


def main(arguments: list[str]) -> int:
    """Exit codes as trainer.data: 0 ready, 1 it could not be made, 2 a wrong flag."""
    if any(one == "--preset" or one.startswith("--preset=") for one in arguments):
        return prepare(["prepare", *arguments])
    return prepare(["prepare", "--preset", preset_here(), *arguments])
