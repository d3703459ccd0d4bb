"""Ledger records as messages of the agent's API."""

from __future__ import annotations

from autoresearch.agent.v1 import agent_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from agent.ledger.codec import from_payload
from agent.ledger.ledger import Ledger
from agent.ledger.records import LedgerEvent, ProposalRecord, RunKind, RunRecord, SessionRecord, SessionTotals
from agent.session.training import Progress


def session_message(
    record: SessionRecord, totals: SessionTotals, lab: str, last_sequence: int = 0
) -> pb.Session:
    message = pb.Session(
        session_id=record.session_id,
        state=pb.SessionState.Value(f"SESSION_STATE_{record.state.name}"),
        lab=lab,
        tag=record.tag,
        provider=record.provider,
        model=record.model,
        stop_detail=record.stop_detail,
        proposal_count=totals.proposals,
        kept_count=totals.kept,
        run_count=totals.runs,
        baseline_val_bpb=totals.baseline_val_bpb,
        best_val_bpb=totals.best_val_bpb,
        noise_sigma=record.noise_sigma,
        cost_usd=totals.cost_usd,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        start_time=timestamp(record.started_at),
        end_time=timestamp(record.ended_at),
        device_class=record.setup.device_class,
        entropy_source=record.entropy_source,
        limits=pb.Limits(
            max_cost_usd=record.max_cost_usd,
            max_tokens=record.max_tokens,
            max_hours=record.max_hours,
            max_device_seconds=record.max_device_seconds,
        ),
        last_sequence=last_sequence,
    )
    message.active_time.FromMilliseconds(round(record.active_seconds * 1000))
    if record.stop_reason is not None:
        message.stop_reason = pb.StopReason.Value(f"STOP_REASON_{record.stop_reason.name}")
    return message


def proposal_message(record: ProposalRecord, runs: list[RunRecord]) -> pb.Proposal:
    message = pb.Proposal(
        number=record.number,
        proposal_id=record.proposal_id,
        description=record.description,
        state=pb.ProposalState.Value(f"PROPOSAL_STATE_{record.state.name}"),
        reason=record.reason,
        commit=record.commit or record.parent_commit,
        val_bpb=record.val_bpb,
        difference=record.difference,
        difference_error=record.difference_error,
        memory_gb=record.memory_gb,
        runs=[run_message(run) for run in runs],
        diff_hash=record.diff_hash,
        create_time=timestamp(record.created_at),
        end_time=timestamp(record.ended_at),
        cost_usd=record.cost_usd,
        differences=record.differences,
    )
    if record.verdict is not None:
        message.verdict = pb.Verdict.Value(f"VERDICT_{record.verdict.name}")
    return message


def run_message(run: RunRecord) -> pb.Run:
    message = pb.Run(
        experiment_id=run.experiment_id,
        seed=run.seed,
        val_bpb=run.val_bpb,
        failure_reason=run.failure_reason or ("VOID" if run.void else ""),
        incumbent=run.kind is not RunKind.CANDIDATE,
        void=bool(run.void),
    )
    message.duration.FromMilliseconds(round(run.seconds * 1000))
    return message


def event_message(event: LedgerEvent, ledger: Ledger, lab: str) -> pb.WatchSessionResponse:
    """A stored event as it is sent; the session or proposal is as it was at that moment."""
    message = pb.WatchSessionResponse(sequence=event.sequence, event_time=timestamp(event.time))
    if event.kind == "session":
        record = from_payload(SessionRecord, event.payload["session"])
        totals = from_payload(SessionTotals, event.payload["totals"])
        message.session.CopyFrom(session_message(record, totals, lab, event.sequence))
    elif event.kind == "proposal":
        proposal = from_payload(ProposalRecord, event.payload)
        runs = ledger.runs.of_proposal(event.session_id, proposal.number)
        message.proposal.CopyFrom(proposal_message(proposal, runs))
    else:
        message.message = str(event.payload.get("text", ""))
    return message


def progress_message(progress: Progress, number: int) -> pb.WatchSessionResponse:
    return pb.WatchSessionResponse(
        progress=pb.RunProgress(
            experiment_id=progress.experiment_id,
            proposal_number=number,
            progress=progress.progress,
            loss=progress.loss,
            stage=progress.stage,
            tokens_per_second=progress.tokens_per_second,
        )
    )


def timestamp(seconds: float | None) -> Timestamp | None:
    if seconds is None:
        return None
    message = Timestamp()
    message.FromNanoseconds(round(seconds * 1e6) * 1000)
    return message
