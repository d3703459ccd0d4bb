"""What one training run is: read from the JSON file that AUTORESEARCH_RUN names. No torch here."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.harness.failures import ContractError

RUN_VARIABLE = "AUTORESEARCH_RUN"
EVENTS_VARIABLE = "AUTORESEARCH_EVENTS_FD"
BUDGET_KINDS = ("tokens", "time", "flops")


@dataclass(frozen=True)
class Budget:
    """How much training a run may do: tokens, seconds of training, or floating-point operations."""

    kind: str
    amount: float

    def __post_init__(self) -> None:
        if self.kind not in BUDGET_KINDS:
            raise ContractError(f"budget kind must be one of {', '.join(BUDGET_KINDS)}, not {self.kind!r}")
        if not self.amount > 0:
            raise ContractError(f"budget amount must be positive, not {self.amount}")


@dataclass(frozen=True)
class RunSpec:
    """One run as the trainer asks for it.

    data_dir is the train folder of a data set; out_dir receives the checkpoint; device is auto, cpu,
    cuda, cuda:N or mps; threads 0 leaves torch's choice; wall_limit_seconds 0 means no limit (the
    daemon enforces it, this is for information); attention names a backend or auto; compile is auto,
    on or off; events_fd is where metric events go, -1 for nowhere.
    """

    experiment_id: str
    seed: int
    budget: Budget
    data_dir: str
    out_dir: str
    device: str = "auto"
    threads: int = 0
    wall_limit_seconds: float = 0.0
    attention: str = "auto"
    compile: str = "auto"
    events_fd: int = -1

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def parse_run_spec(text: str) -> RunSpec:
    """Reads a RunSpec from JSON. Raises ContractError that names the wrong field."""
    try:
        fields = json.loads(text)
        budget = Budget(**fields.pop("budget"))
        return RunSpec(budget=budget, **fields)
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ContractError(f"the run description is not valid: {error}") from error


def read_run_spec() -> RunSpec:
    """The RunSpec of this process, with events_fd from the environment where the file leaves it out."""
    path = os.environ.get(RUN_VARIABLE, "")  # noqa: TID251  a child process gets its work this way
    if not path:
        raise ContractError(f"{RUN_VARIABLE} is not set: it names the JSON file that describes the run")
    try:
        run = parse_run_spec(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractError(f"{RUN_VARIABLE}={path} cannot be read: {error.strerror}") from error
    descriptor = os.environ.get(EVENTS_VARIABLE, "")  # noqa: TID251  the same
    if run.events_fd < 0 and descriptor.isdigit():
        return RunSpec(**{**run.__dict__, "events_fd": int(descriptor)})
    return run
