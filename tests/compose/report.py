"""What the live test did, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.compose.engine import StepFailed


class Report:
    """Prints each step with its time as it ends, and keeps the lines. A failed step does not end the test."""

    def __init__(self, without: Sequence[str] = (), path: Path | None = None) -> None:
        self.lines: list[str] = []
        self.failed = False
        self._without = without
        self._path = path

    def step(self, name: str, work: Callable[[], str], *, needed: bool = False) -> None:
        """Runs one; a failure of a `needed` one ends the test."""
        if any(part in name for part in self._without):
            self.say(f"left out          {name}")
            return
        started = time.monotonic()
        try:
            detail, mark = work(), "ok"
        except (StepFailed, AssertionError) as error:
            detail, mark, self.failed = str(error), "FAILED", True
        self.say(f"{mark:<7}{time.monotonic() - started:7.1f} s  {name}{': ' + detail if detail else ''}")
        if mark == "FAILED" and needed:
            raise SystemExit(1)

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)
        if self._path is not None:
            self._path.write_text("\n".join(self.lines) + "\n")
