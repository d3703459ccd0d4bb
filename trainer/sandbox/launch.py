"""How a plan is started: under the supervisor on Linux, as a plain process elsewhere."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from trainer.sandbox.candidate_plan import PACKAGE
from trainer.sandbox.plan import Plan

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from trainer.sandbox.supervise import main; sys.exit(main())"
)


@dataclass(frozen=True)
class Ending:
    """How a tree ended: exit code or signal of its first process, the cap that it broke, CPU seconds used,
    peak memory in bytes. error is set when it could not even start."""

    code: int = 0
    signal: int = 0
    limit: str = ""
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    error: str = ""


def has_supervisor() -> bool:
    return sys.platform == "linux"


def supervisor_command(plan: Plan, plan_path: Path, status_fd: int) -> list[str]:
    """Writes the plan and returns what to execute."""
    plan_path.write_text(plan.to_json(), encoding="utf-8")
    command = [sys.executable, "-S", "-E", "-P", "-B", "-c", _PROGRAM]
    return [*command, str(PACKAGE.parent), str(plan_path), str(status_fd)]


def supervisor_environment() -> dict[str, str]:
    """Next to nothing: a candidate that could read it would learn nothing."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}


def read_ending(report: bytes, code: int) -> Ending:
    """The supervisor's report, or what its own exit code says where there is none."""
    try:
        fields = json.loads(report.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        # Killed itself, or no supervisor at all (then the code is the program's own).
        return Ending(code=max(code, 0), signal=max(-code, 0))
    if "error" in fields:
        return Ending(code=126, error=str(fields["error"]))
    return Ending(
        code=int(fields["code"]),
        signal=int(fields["signal"]),
        limit=str(fields["limit"]),
        cpu_seconds=float(fields["cpu"]),
        peak_memory_bytes=int(fields["peak_memory"]),
    )
