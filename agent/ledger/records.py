"""What the ledger holds, as values: sessions, proposals, runs, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.verdict import Verdict


class SessionState(StrEnum):
    STARTING = "starting"
    PREPARING_DATA = "preparing_data"
    MEASURING_NOISE = "measuring_noise"
    PROPOSING = "proposing"
    RUNNING = "running"
    JUDGING = "judging"
    STOPPED = "stopped"
    MANUAL = "manual"


class StopReason(StrEnum):
    """Every way in which a session ends."""

    EXPERIMENT_LIMIT = "experiment_limit"
    REQUESTED = "requested"
    COST_LIMIT = "cost_limit"
    TIME_LIMIT = "time_limit"
    DEVICE_LIMIT = "device_limit"
    PROVIDER_FAILED = "provider_failed"
    TRAINER_FAILED = "trainer_failed"
    BASELINE_FAILED = "baseline_failed"
    LAB_FAILED = "lab_failed"
    PROPOSER_DONE = "proposer_done"
    TOKEN_LIMIT = "token_limit"
    INTERNAL = "internal"


class ProposalState(StrEnum):
    """PROPOSED -> RUNNING -> JUDGED -> RECORDED, each written before what it announces is done."""

    PROPOSED = "proposed"
    RUNNING = "running"
    JUDGED = "judged"
    RECORDED = "recorded"


class RunKind(StrEnum):
    """BASELINE replicates measure the noise; CANDIDATE and INCUMBENT make the pairs of a proposal."""

    BASELINE = "b"
    CANDIDATE = "c"
    INCUMBENT = "i"


@dataclass(frozen=True)
class Setup:
    """What a session is measured with. Results compare only while all of it stays the same."""

    preset: str
    budget_kind: str
    budget_amount: float
    data_hash: str = ""
    device_class: str = ""
    attention: str = ""
    dataset: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionRecord:
    """A tag's research, over all its starts. `tip_commit` and `tip_source_hash` are the incumbent.

    `active_seconds` counts time in which a loop ran, by a clock that never jumps.
    """

    session_id: str
    tag: str
    state: SessionState
    provider: str
    model: str
    setup: Setup
    created_at: float
    started_at: float
    ended_at: float | None = None
    stop_reason: StopReason | None = None
    stop_detail: str = ""
    tip_commit: str = ""
    tip_source_hash: str = ""
    noise_sigma: float | None = None
    entropy_source: str = ""
    active_seconds: float = 0.0
    max_experiments: int | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_hours: float | None = None
    max_device_seconds: float | None = None


@dataclass(frozen=True)
class SessionTotals:
    """Counts over a session's ledger rows.

    `runs` have a result that counts; `device_seconds` adds up the durations of all, the interrupted and
    void ones too; `baseline_seconds` is the part of the baseline's replicates.
    """

    proposals: int = 0
    kept: int = 0
    runs: int = 0
    baseline_val_bpb: float | None = None
    best_val_bpb: float | None = None
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    device_seconds: float = 0.0
    baseline_seconds: float = 0.0


@dataclass(frozen=True)
class ProposalRecord:
    """One row of the ledger. Number 0 is the baseline. Scores are bits per byte, memory is in 10^9 bytes.

    `commit` is the proposal's own once it was kept, else its parent's. `seed_block` says which seeds its
    pairs run on (agent/judging/seed_plan.py); `differences` are of its pairs, candidate minus incumbent.
    """

    session_id: str
    number: int
    description: str
    state: ProposalState
    source_hash: str
    parent_commit: str
    parent_source_hash: str
    diff_hash: str
    created_at: float
    changes: Mapping[str, object] = field(default_factory=dict)
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    edits_code: bool = False
    simpler: bool = False
    seed_block: int = 0
    token: str = ""
    verdict: Verdict | None = None
    reason: str = ""
    commit: str = ""
    val_bpb: float | None = None
    differences: tuple[float, ...] = ()
    difference: float | None = None
    difference_error: float | None = None
    memory_gb: float = 0.0
    judged_at: float | None = None
    ended_at: float | None = None
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def proposal_id(self) -> str:
        return f"{self.session_id}-p{self.number}"

    @property
    def is_commit(self) -> bool:
        """Whether the judge's verdict makes this a commit."""
        return self.verdict in (Verdict.KEEP, Verdict.EQUIVALENT)


@dataclass(frozen=True)
class RunRecord:
    """One training run that was asked for. `void` says why its result must not be judged; empty if it may.

    `ended` is False from the moment before the trainer is asked until its answer is written.
    """

    experiment_id: str
    session_id: str
    number: int
    kind: RunKind
    position: int
    attempt: int
    seed: int
    seed_index: int
    source_hash: str
    created_at: float
    ended: bool = False
    val_bpb: float | None = None
    failure_reason: str = ""
    failure_message: str = ""
    void: str = ""
    memory_bytes: int = 0
    seconds: float = 0.0
    device_class: str = ""
    attention: str = ""
    tokens_per_second: float = 0.0
    log_hash: str = ""


@dataclass(frozen=True)
class SeedRecord:
    """A seed that was revealed for use, with the evidence of where it came from."""

    index: int
    value: int
    pack_id: str
    pack_index: int
    source: str
    receipt: str


@dataclass(frozen=True)
class LedgerEvent:
    """What a watcher is told: kind is session, proposal or message; payload is its state at that moment."""

    sequence: int
    session_id: str
    time: float
    kind: str
    payload: Mapping[str, object]
