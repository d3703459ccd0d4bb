"""The values of an experiment: what was asked for, what became of it. Plain and frozen; no protobuf here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Names of ExperimentState without its prefix."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    TRAINING = "TRAINING"
    EVALUATING = "EVALUATING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class Failure(StrEnum):
    """Names of FailureReason without its prefix; docs/trainer.md explains each."""

    SYNTAX_ERROR = "SYNTAX_ERROR"
    IMPORT_ERROR = "IMPORT_ERROR"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    CONTRACT_VIOLATION = "CONTRACT_VIOLATION"
    NOT_FINITE = "NOT_FINITE"
    OUT_OF_HOST_MEMORY = "OUT_OF_HOST_MEMORY"
    OUT_OF_DEVICE_MEMORY = "OUT_OF_DEVICE_MEMORY"
    TIMEOUT = "TIMEOUT"
    KILLED = "KILLED"
    SANDBOX_VIOLATION = "SANDBOX_VIOLATION"
    AUDIT_FAILED = "AUDIT_FAILED"
    BAD_CHECKPOINT = "BAD_CHECKPOINT"
    DISK_FULL = "DISK_FULL"
    COMPILE_FAILED = "COMPILE_FAILED"
    DEVICE_LOST = "DEVICE_LOST"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    INTERRUPTED = "INTERRUPTED"
    DATA_ERROR = "DATA_ERROR"
    INTERNAL = "INTERNAL"


class Finding(StrEnum):
    """Names of AuditFinding without its prefix; docs/trainer.md explains each."""

    NON_CAUSAL = "NON_CAUSAL"
    PREFIX_INCONSISTENT = "PREFIX_INCONSISTENT"
    STATEFUL = "STATEFUL"
    ORDER_DEPENDENT = "ORDER_DEPENDENT"
    NOT_FINITE = "NOT_FINITE"
    WRONG_SHAPE = "WRONG_SHAPE"
    WRONG_VOCABULARY = "WRONG_VOCABULARY"
    NO_ANSWER = "NO_ANSWER"
    BAD_CHECKPOINT = "BAD_CHECKPOINT"
    UNTRAINED = "UNTRAINED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"


class Origin(StrEnum):
    """Who wrote the source; decides which sandbox tiers may run it."""

    TEMPLATE = "TEMPLATE"
    USER = "USER"
    MODEL = "MODEL"


class Tier(StrEnum):
    """How the candidate is kept apart, weakest first."""

    NONE = "NONE"
    LANDLOCK = "LANDLOCK"
    BUBBLEWRAP = "BUBBLEWRAP"
    CONTAINER = "CONTAINER"


@dataclass(frozen=True)
class Budget:
    """kind is "time" (seconds of training), "tokens" or "flops"."""

    kind: str
    amount: float


@dataclass(frozen=True)
class SeedGrant:
    """A seed and where it came from; receipt is the signed statement as JSON, empty for a user's own."""

    value: int = 0
    pack_id: str = ""
    index: int = 0
    source: str = "user"
    receipt: str = ""


@dataclass(frozen=True)
class ExperimentRequest:
    """What a client asked for, with the preset and the budget filled in; source_hash is SHA-256."""

    experiment_id: str
    source_hash: str
    seed: SeedGrant
    budget: Budget
    data_hash: str
    preset: str
    device_class: str = ""
    origin: Origin = Origin.MODEL
    keep_checkpoint: bool = False
    device_count: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    wall_limit_seconds: float = 0.0


@dataclass(frozen=True)
class Audit:
    """One check of the evaluator. Differences are of log-probabilities, in nats."""

    name: str
    passed: bool
    largest_difference: float = 0.0
    mean_difference: float = 0.0
    finding: Finding | None = None


@dataclass(frozen=True)
class Evaluation:
    """What the sealed evaluator measured; durations in seconds. logit_path is cuda_ipc where logits stayed on
    the GPU, else host, with the reason if the device is a GPU."""

    token_count: int
    byte_count: int
    duration: float
    audit_duration: float
    audits: tuple[Audit, ...] = ()
    logit_path: str = "host"
    logit_path_reason: str = ""


@dataclass(frozen=True)
class Result:
    """What became of an experiment. Losses in nats per token, durations in seconds, sizes in bytes."""

    val_bpb: float | None = None
    val_bpb_legacy: float | None = None
    claimed_val_bpb: float | None = None
    initial_loss: float | None = None
    final_loss: float | None = None
    training_seconds: float = 0.0
    total_seconds: float = 0.0
    num_steps: int = 0
    tokens: int = 0
    num_parameters: int = 0
    depth: int = 0
    vocabulary_size: int = 0
    peak_memory_bytes: int = 0
    mfu_percent: float | None = None
    device: str = ""
    device_class: str = ""
    attention: str = ""
    data_hash: str = ""
    tokenizer_hash: str = ""
    weights_hash: str = ""
    tokens_checksum: str = ""
    validation_hidden: bool = False
    evaluation: Evaluation | None = None
    failure: Failure | None = None
    failure_message: str = ""
    log_tail: tuple[str, ...] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """The record of one experiment; times are seconds since the epoch, 0 for not yet. devices are the
    indices of those that it was started on."""

    request: ExperimentRequest
    state: State = State.QUEUED
    create_time: float = 0.0
    start_time: float = 0.0
    end_time: float = 0.0
    tier: Tier = Tier.NONE
    progress: float = 0.0
    last_sequence: int = 0
    queue_position: int = 0
    result: Result | None = None
    devices: tuple[int, ...] = ()

    @property
    def experiment_id(self) -> str:
        return self.request.experiment_id
