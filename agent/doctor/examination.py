"""What `autoresearch doctor` looks at: each check names what is missing or wrong and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

GIB = 1024**3


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is what a person does about it; empty where nothing is to do."""

    check: str
    level: Level
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at, so that they can be pointed at a broken set-up."""

    lab: Path
    data: Path
    environment: Mapping[str, str]
    now: Callable[[], float]
    ports: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    deep: bool = False
    needed_bytes: int = 2 * GIB
    comfortable_bytes: int = 10 * GIB
    devices: Path = Path("/dev")
    usb_devices: Path = Path("/sys/bus/usb/devices")
    modules: Path = Path("/proc/modules")
    answer_seconds: float = 4.0

    @property
    def trainer_is_elsewhere(self) -> bool:
        """Whether agentd's settings name a trainerd, as under compose: torch and data are then its matter."""
        return bool(self.environment.get("AUTORESEARCH_AGENTD_TRAINER"))


Check = Callable[[Surroundings], list[Finding]]


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def warn(check: str, message: str, remedy: str = "") -> Finding:
    return Finding(check, Level.WARNING, message, remedy)


def error(check: str, message: str, remedy: str = "") -> Finding:
    return Finding(check, Level.ERROR, message, remedy)


def examine(surroundings: Surroundings) -> list[Finding]:
    """Every check, in the order of repair. A check that fails itself is a finding too."""
    from agent.doctor import daemons as doctor_daemons
    from agent.doctor import device as doctor_device
    from agent.doctor import lab as doctor_lab
    from agent.doctor import machine as doctor_machine
    from agent.doctor import trainer as doctor_trainer

    findings: list[Finding] = []
    for check in (
        *doctor_machine.CHECKS,
        *doctor_device.CHECKS,
        *doctor_daemons.CHECKS,
        *doctor_trainer.CHECKS,
        *doctor_lab.CHECKS,
    ):
        try:
            findings.extend(check(surroundings))
        except Exception as problem:
            name = check.__name__.removeprefix("check_")
            findings.append(error(name, f"the check itself failed: {type(problem).__name__}: {problem}"))
    return findings
