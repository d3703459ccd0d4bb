"""The seam between the queue and whatever runs a candidate: this machine, a cluster, or a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trainer.experiment import ExperimentRequest, Result, State, Tier


@dataclass(frozen=True)
class DeviceInfo:
    """One place where a candidate can run. Results compare only within one device_class."""

    name: str
    kind: str
    memory_bytes: int
    device_class: str
    attention: str = "sdpa"
    index: int = 0


@dataclass(frozen=True)
class Capabilities:
    """What an executor offers; tiers are strongest first, tier is the one in force."""

    devices: tuple[DeviceInfo, ...]
    tiers: tuple[Tier, ...]
    tier: Tier
    torch_version: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One experiment: its source, its leased devices and a folder of its own for everything it writes.
    adopted: an earlier daemon began it, and `recover` said that it can go on."""

    request: ExperimentRequest
    source: str
    folder: Path
    devices: tuple[DeviceInfo, ...]
    adopted: bool = False


@dataclass(frozen=True)
class PhaseEvent:
    """The experiment entered a state; progress is 0..1 of the budget."""

    state: State
    tier: Tier = Tier.NONE
    progress: float = 0.0


@dataclass(frozen=True)
class MetricEvent:
    """One sample of the candidate's own measurements."""

    step: int
    values: Mapping[str, float] = field(default_factory=dict)
    progress: float = 0.0


@dataclass(frozen=True)
class LogEvent:
    """One sanitised line; stream is "stdout", "stderr" or "trainer"."""

    stream: str
    text: str


@dataclass(frozen=True)
class EndEvent:
    """The last event of every run: the result, failed or not."""

    result: Result


RunEvent = PhaseEvent | MetricEvent | LogEvent | EndEvent


@dataclass(frozen=True)
class SampleRequest:
    """Text to draw from a kept checkpoint; temperature 0 takes the likeliest token."""

    prompt: str
    max_tokens: int
    temperature: float
    seed: int


class Executor(Protocol):
    """Runs candidates.

    `run` yields events in order and ends with exactly one EndEvent; a candidate's failure is that event's
    result, never an exception. Closing the iterator or cancelling its task ends every process of the run
    before it returns, but after `release` where that answered True: then a run that is training goes on, and
    an executor of the next daemon takes it up. For an adopted job all events come again from the first one
    on. `check` raises FailedPreconditionError (DATA_NOT_FOUND, DATA_MISMATCH,
    DEVICE_CLASS_MISMATCH, SANDBOX_UNAVAILABLE, DOES_NOT_FIT) for a request that could not run here and
    returns the data hash that it will run on. `needs_data` is False where
    nothing is trained and PrepareData may answer at once. `recover` says whether what an earlier daemon
    left in a folder can be adopted; where it cannot, or where that is not wanted, it ends and removes it.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_data(self) -> bool: ...

    async def capabilities(self) -> Capabilities: ...

    async def check(self, request: ExperimentRequest) -> str: ...

    def run(self, job: Job) -> AsyncIterator[RunEvent]: ...

    async def sample(self, job: Job, request: SampleRequest) -> str: ...

    async def recover(self, folder: Path, *, adopt: bool) -> bool: ...

    async def release(self) -> bool: ...
