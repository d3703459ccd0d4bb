"""`python -m trainer prepare`: trainer.data's preparation, with the preset of this machine's device."""

from __future__ import annotations

import asyncio

from trainer.data.__main__ import main as prepare
from trainer.devices import probe_devices
from trainer.presets import choose_preset


def main(arguments: list[str]) -> int:
    """Exit codes as trainer.data: 0 ready, 1 it could not be made, 2 a wrong flag."""
    if any(one == "--preset" or one.startswith("--preset=") for one in arguments):
        return prepare(["prepare", *arguments])
    devices, _ = asyncio.run(probe_devices(1))
    first = devices[0]
    preset = choose_preset(first.name, first.memory_bytes if first.kind == "cuda" else 0)
    return prepare(["prepare", "--preset", preset, *arguments])
