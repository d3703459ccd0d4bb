"""Between the values of an experiment and the messages of TrainerService."""

from __future__ import annotations

import hashlib
import json
import re

from autoresearch.trainer.v1 import trainer_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import TypeAdapter

from services.errors import InvalidArgumentError
from trainer.experiment import (
    Budget,
    Experiment,
    ExperimentRequest,
    Origin,
    Result,
    SeedGrant,
    Tier,
)
from trainer.journal import StoredEvent
from trainer.presets import Preset

LARGEST_SOURCE = 1 << 20
BUDGET_KINDS = {pb.BUDGET_KIND_TIME: "time", pb.BUDGET_KIND_TOKENS: "tokens", pb.BUDGET_KIND_FLOPS: "flops"}
ORIGINS = {
    pb.SOURCE_ORIGIN_UNSPECIFIED: Origin.MODEL,
    pb.SOURCE_ORIGIN_TEMPLATE: Origin.TEMPLATE,
    pb.SOURCE_ORIGIN_USER: Origin.USER,
    pb.SOURCE_ORIGIN_MODEL: Origin.MODEL,
}
_EXPERIMENT = TypeAdapter(Experiment)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def read_request(message: pb.StartExperimentRequest, preset: Preset) -> tuple[ExperimentRequest, str]:
    """The request with defaults, and the hash of all that was asked. Raises InvalidArgumentError."""
    if not _ID.fullmatch(message.experiment_id) or message.experiment_id.startswith("."):
        raise InvalidArgumentError(
            f"experiment_id must be 1..64 of [A-Za-z0-9._-], the first no dot, not {message.experiment_id!r}",
            field="experiment_id",
            reason="INVALID_EXPERIMENT_ID",
        )
    size = len(message.train_source.encode())
    if not 0 < size <= LARGEST_SOURCE:
        raise InvalidArgumentError(
            f"train_source must have 1 to {LARGEST_SOURCE} bytes, not {size}",
            field="train_source",
            reason="SOURCE_TOO_LARGE",
        )
    if message.origin not in ORIGINS:
        raise InvalidArgumentError(
            f"origin {message.origin} is unknown", field="origin", reason="UNSPECIFIED_ENUM"
        )
    if not 0 <= message.device_count <= 64:
        raise InvalidArgumentError(
            f"device_count must be 0 to 64, not {message.device_count}", field="device_count"
        )
    wall_limit = _seconds(message.wall_limit)
    if wall_limit < 0:
        raise InvalidArgumentError(
            f"wall_limit must be positive, or 0 for the budget's, not {wall_limit:g} s", field="wall_limit"
        )
    seed = message.seed
    request = ExperimentRequest(
        experiment_id=message.experiment_id,
        source_hash=hashlib.sha256(message.train_source.encode()).hexdigest(),
        seed=SeedGrant(seed.value, seed.pack_id, seed.index, seed.source or "user", seed.receipt),
        budget=read_budget(message, preset),
        data_hash=message.data_hash,
        preset=preset.name,
        device_class=message.device_class,
        origin=ORIGINS[message.origin],
        keep_checkpoint=message.keep_checkpoint,
        device_count=message.device_count or 1,
        labels=dict(message.labels),
        wall_limit_seconds=wall_limit,
    )
    return request, hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def read_budget(message: pb.StartExperimentRequest, preset: Preset) -> Budget:
    """The budget asked for, or the preset's. Raises InvalidArgumentError (INVALID_BUDGET)."""
    if not message.HasField("budget"):
        return Budget(preset.budget_kind, preset.budget_amount)
    budget = message.budget
    if budget.kind not in BUDGET_KINDS:
        raise InvalidArgumentError(
            "budget.kind must be TIME, TOKENS or FLOPS", field="budget.kind", reason="INVALID_BUDGET"
        )
    if not 0 < budget.amount < 1e24:  # NaN fails this as well
        raise InvalidArgumentError(
            f"budget.amount must be positive and finite, not {budget.amount}",
            field="budget.amount",
            reason="INVALID_BUDGET",
        )
    return Budget(BUDGET_KINDS[budget.kind], budget.amount)


def write_budget(budget: Budget) -> pb.Budget:
    kinds = {name: kind for kind, name in BUDGET_KINDS.items()}
    return pb.Budget(kind=kinds[budget.kind], amount=budget.amount)


def write_tier(tier: Tier) -> pb.SandboxTier.ValueType:
    return pb.SandboxTier.Value(f"SANDBOX_TIER_{tier}")


def write_experiment(experiment: Experiment) -> pb.Experiment:
    request, seed = experiment.request, experiment.request.seed
    message = pb.Experiment(
        experiment_id=request.experiment_id,
        state=pb.ExperimentState.Value(f"EXPERIMENT_STATE_{experiment.state}"),
        labels=dict(request.labels),
        create_time=_timestamp(experiment.create_time),
        start_time=_timestamp(experiment.start_time),
        end_time=_timestamp(experiment.end_time),
        seed=pb.SeedGrant(
            value=seed.value, pack_id=seed.pack_id, index=seed.index, source=seed.source, receipt=seed.receipt
        ),
        budget=write_budget(request.budget),
        source_hash=request.source_hash,
        preset=request.preset,
        sandbox_tier=write_tier(experiment.tier),
        origin=pb.SourceOrigin.Value(f"SOURCE_ORIGIN_{request.origin}"),
        queue_position=experiment.queue_position,
        progress=experiment.progress,
        last_sequence=experiment.last_sequence,
    )
    if experiment.result is not None:
        message.result.CopyFrom(write_result(experiment.result))
    return message


def write_result(result: Result) -> pb.ExperimentResult:
    failure = result.failure or "UNSPECIFIED"
    message = pb.ExperimentResult(
        val_bpb=result.val_bpb,
        val_bpb_legacy=result.val_bpb_legacy,
        claimed_val_bpb=result.claimed_val_bpb,
        initial_loss=result.initial_loss,
        final_loss=result.final_loss,
        training_duration=_duration(result.training_seconds),
        total_duration=_duration(result.total_seconds),
        num_steps=_count(result.num_steps),
        tokens=_count(result.tokens),
        num_parameters=_count(result.num_parameters),
        depth=_count(result.depth, bits=31),
        vocabulary_size=result.vocabulary_size,
        peak_memory_bytes=_count(result.peak_memory_bytes),
        mfu_percent=result.mfu_percent,
        device=result.device,
        device_class=result.device_class,
        attention=result.attention,
        data_hash=result.data_hash,
        tokenizer_hash=result.tokenizer_hash,
        weights_hash=result.weights_hash,
        tokens_checksum=result.tokens_checksum,
        validation_hidden=result.validation_hidden,
        failure_reason=pb.FailureReason.Value(f"FAILURE_REASON_{failure}"),
        failure_message=result.failure_message,
        log_tail=result.log_tail,
        artifacts=dict(result.artifacts),
    )
    evaluation = result.evaluation
    if evaluation is not None:
        message.evaluation.CopyFrom(
            pb.Evaluation(
                token_count=evaluation.token_count,
                byte_count=evaluation.byte_count,
                duration=_duration(evaluation.duration),
                audit_duration=_duration(evaluation.audit_duration),
                logit_path=evaluation.logit_path,
                logit_path_reason=evaluation.logit_path_reason,
                audits=[
                    pb.Audit(
                        name=audit.name,
                        passed=audit.passed,
                        largest_difference=audit.largest_difference,
                        mean_difference=audit.mean_difference,
                        finding=pb.AuditFinding.Value(f"AUDIT_FINDING_{audit.finding or 'UNSPECIFIED'}"),
                    )
                    for audit in evaluation.audits
                ],
            )
        )
    return message


def write_event(event: StoredEvent) -> pb.WatchExperimentResponse:
    message = pb.WatchExperimentResponse(sequence=event.sequence, event_time=_timestamp(event.time))
    if event.kind == "state":
        message.state.CopyFrom(write_experiment(_EXPERIMENT.validate_json(event.body)))
        return message
    fields = json.loads(event.body)
    if event.kind == "metric":
        message.metric.step = _count(fields["step"])
        message.metric.values.update(fields["values"])
    elif event.kind == "log":
        message.log.stream, message.log.text = fields["stream"], fields["text"]
    else:
        message.dropped_events = fields["count"]
    return message


def _count(value: int, bits: int = 63) -> int:
    """The nearest number that a field holds: one experiment of the journal must not keep all others from
    being listed."""
    return min(max(value, 0), (1 << bits) - 1)


def _timestamp(seconds: float) -> Timestamp | None:
    if not seconds:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration


def _seconds(duration: Duration) -> float:
    return duration.ToMicroseconds() / 1e6
