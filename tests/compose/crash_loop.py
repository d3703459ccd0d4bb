"""A daemon that cannot start, under a real engine: a few tries, ever later, then a loud end."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.compose.engine import Stack

TRIES = 5  # restarts by `on-failure:5`
MISSING = "/peers/entropyd/not-there"


def crash_loop(stack: Stack) -> str:
    """memoryd is told to read a token that is not there. What `docker compose ps` and the log say of it."""
    stack.environment["ENTROPY_TOKEN_FILE"] = MISSING
    try:
        stack.compose("up", "-d", "--no-build", "--no-deps", "memoryd")
        container = stack.compose("ps", "-aq", "memoryd").strip()
        began = time.monotonic()
        while (state := inspect(stack, container))["State"]["Status"] != "exited":
            assert time.monotonic() - began < 120, state["State"]
            time.sleep(0.5)
        gave_up = time.monotonic() - began
        assert state["RestartCount"] == TRIES, state["RestartCount"]
        said = [
            line for line in stack.compose("logs", "--no-color", "memoryd").splitlines() if MISSING in line
        ]
        assert len(said) == TRIES + 1, said
        assert "Traceback" not in stack.logs("memoryd")
        [listed] = stack.compose("ps", "-a", "--format", "json", "memoryd").splitlines()
        assert json.loads(listed)["State"] == "exited", listed
        assert json.loads(listed)["ExitCode"] == 2, listed
        stack.wait_healthy("agent")
    finally:
        del stack.environment["ENTROPY_TOKEN_FILE"]
        stack.compose("up", "-d", "--no-build", "memoryd")
        stack.wait_healthy("memoryd")
    return f"gave up after {TRIES} restarts in {gave_up:.0f} s; {said[-1].partition('|')[2].strip()}"


def inspect(stack: Stack, container: str) -> dict[str, Any]:
    [found] = json.loads(stack.docker("inspect", container))
    return dict(found)
