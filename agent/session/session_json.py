"""Sessions and proposals as JSON values: the stable form that `--json` and the dashboard use."""

from __future__ import annotations

from autoresearch.agent.v1 import agent_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def verdict_name(verdict: pb.Verdict.ValueType) -> str:
    """ "keep", "discard", …; "" while there is none."""
    name = pb.Verdict.Name(verdict).removeprefix("VERDICT_").lower()
    return "" if name == "unspecified" else name


def session_dict(session: pb.Session) -> dict[str, object]:
    return {
        "session_id": session.session_id,
        "state": _enum(pb.SessionState.Name(session.state), "SESSION_STATE_"),
        "lab": session.lab,
        "tag": session.tag,
        "provider": session.provider,
        "model": session.model,
        "stop_reason": _enum(pb.StopReason.Name(session.stop_reason), "STOP_REASON_"),
        "stop_detail": session.stop_detail,
        "proposal_count": session.proposal_count,
        "kept_count": session.kept_count,
        "run_count": session.run_count,
        "baseline_val_bpb": _optional(session, "baseline_val_bpb"),
        "best_val_bpb": _optional(session, "best_val_bpb"),
        "noise_sigma": _optional(session, "noise_sigma"),
        "cost_usd": session.cost_usd,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "start_time": _time(session, "start_time"),
        "end_time": _time(session, "end_time"),
        "active_seconds": seconds(session.active_time),
        "device_class": session.device_class,
        "entropy_source": session.entropy_source,
        "last_sequence": session.last_sequence,
    }


def proposal_dict(proposal: pb.Proposal) -> dict[str, object]:
    return {
        "number": proposal.number,
        "proposal_id": proposal.proposal_id,
        "description": proposal.description,
        "state": _enum(pb.ProposalState.Name(proposal.state), "PROPOSAL_STATE_"),
        "verdict": verdict_name(proposal.verdict),
        "reason": proposal.reason,
        "commit": proposal.commit,
        "val_bpb": _optional(proposal, "val_bpb"),
        "difference": _optional(proposal, "difference"),
        "difference_error": _optional(proposal, "difference_error"),
        "differences": list(proposal.differences),
        "memory_gb": proposal.memory_gb,
        "diff_hash": proposal.diff_hash,
        "cost_usd": proposal.cost_usd,
        "create_time": _time(proposal, "create_time"),
        "end_time": _time(proposal, "end_time"),
        "runs": [run_dict(run) for run in proposal.runs],
    }


def run_dict(run: pb.Run) -> dict[str, object]:
    return {
        "experiment_id": run.experiment_id,
        "seed": run.seed,
        "val_bpb": _optional(run, "val_bpb"),
        "failure_reason": run.failure_reason,
        "seconds": seconds(run.duration),
        "incumbent": run.incumbent,
        "void": run.void,
    }


def progress_dict(progress: pb.RunProgress) -> dict[str, object]:
    return {
        "experiment_id": progress.experiment_id,
        "proposal_number": progress.proposal_number,
        "stage": progress.stage,
        "progress": round(progress.progress, 4),
        "loss": progress.loss,
        "tokens_per_second": progress.tokens_per_second,
    }


def event_dict(event: pb.WatchSessionResponse) -> dict[str, object]:
    """One line of `run --json`: {"type", "sequence", …} with the value under its type's name."""
    head: dict[str, object] = {"type": event.WhichOneof("event") or "", "sequence": event.sequence}
    match event.WhichOneof("event"):
        case "session":
            return head | {"session": session_dict(event.session)}
        case "proposal":
            return head | {"proposal": proposal_dict(event.proposal)}
        case "progress":
            return head | {"progress": progress_dict(event.progress)}
        case "message":
            return head | {"message": event.message}
        case _:
            return head


def seconds(duration: Duration) -> float:
    return round(duration.seconds + duration.nanos / 1e9, 3)


def _enum(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix).lower()
    return "" if short == "unspecified" else short


def _optional(message: pb.Session | pb.Proposal | pb.Run, name: str) -> float | None:
    return float(getattr(message, name)) if message.HasField(name) else None  # type: ignore[arg-type]


def _time(message: pb.Session | pb.Proposal, name: str) -> str | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    value: Timestamp = getattr(message, name)
    return value.ToDatetime().isoformat(timespec="seconds") + "Z"
