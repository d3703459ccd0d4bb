"""Sessions and proposals as lines and tables for a person."""

from __future__ import annotations

from autoresearch.agent.v1 import agent_pb2 as pb
from rich import box
from rich.table import Table
from rich.text import Text

from agent.cli.console import one_line
from agent.session.session_json import seconds, verdict_name

_STYLES = {
    "keep": "bold green",
    "equivalent": "green",
    "discard": "dim",
    "crash": "red",
    "refused": "yellow",
    "baseline": "bold",
    "retest": "cyan",
}
_STATES = {
    pb.SESSION_STATE_STARTING: "starting",
    pb.SESSION_STATE_PREPARING_DATA: "preparing data",
    pb.SESSION_STATE_MEASURING_NOISE: "measuring the noise floor with replicates of the baseline",
    pb.SESSION_STATE_PROPOSING: "thinking of the next change",
    pb.SESSION_STATE_RUNNING: "training",
    pb.SESSION_STATE_JUDGING: "judging",
    pb.SESSION_STATE_STOPPED: "stopped",
    pb.SESSION_STATE_MANUAL: "open for tools by hand",
}
_STOPS = {
    pb.STOP_REASON_EXPERIMENT_LIMIT: "the number of experiments asked for is reached",
    pb.STOP_REASON_REQUESTED: "on request",
    pb.STOP_REASON_COST_LIMIT: "the cost cap is reached",
    pb.STOP_REASON_TIME_LIMIT: "the time cap is reached",
    pb.STOP_REASON_DEVICE_LIMIT: "the cap on device seconds is reached",
    pb.STOP_REASON_TOKEN_LIMIT: "the cap on tokens is reached",
    pb.STOP_REASON_PROPOSER_DONE: "the proposer has nothing more to try",
    pb.STOP_REASON_PROVIDER_FAILED: "the language model's provider failed",
    pb.STOP_REASON_TRAINER_FAILED: "the trainer failed",
    pb.STOP_REASON_BASELINE_FAILED: "the baseline cannot be trained",
    pb.STOP_REASON_LAB_FAILED: "the lab folder failed",
    pb.STOP_REASON_INTERNAL: "a defect of the agent; see its log",
}
FAILED_STOPS = frozenset(
    {
        pb.STOP_REASON_PROVIDER_FAILED,
        pb.STOP_REASON_TRAINER_FAILED,
        pb.STOP_REASON_BASELINE_FAILED,
        pb.STOP_REASON_LAB_FAILED,
        pb.STOP_REASON_INTERNAL,
    }
)


def state_text(session: pb.Session) -> str:
    return _STATES.get(session.state, "")


def stop_text(session: pb.Session) -> str:
    """Why the session stopped, with its detail; "" while it runs."""
    reason = _STOPS.get(session.stop_reason, "")
    detail = one_line(session.stop_detail)
    return f"{reason}: {detail}" if reason and detail else reason or detail


def score_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def difference_text(proposal: pb.Proposal) -> str:
    """The paired difference against the incumbent with its standard error; negative is better."""
    if not proposal.HasField("difference"):
        return "-"
    error = f" ± {proposal.difference_error:.4f}" if proposal.HasField("difference_error") else ""
    return f"{proposal.difference:+.4f}{error}"


def run_line(proposal: pb.Proposal, index: int) -> str:
    """One line for a finished run: `#3 run 2  val_bpb 1.234567  11.2 s`."""
    run = proposal.runs[index]
    who = "incumbent, same seed" if run.incumbent else "candidate"
    who = "baseline" if proposal.number == 0 else who
    failure = one_line(run.failure_reason)
    if run.HasField("val_bpb"):
        result = f"val_bpb {run.val_bpb:.6f}" + (", does not count" if run.void else "")
    else:
        result = f"{failure}: does not count" if run.void else f"failed: {failure}"
    return f"#{proposal.number} run {index + 1} ({who})  {result}  {seconds(run.duration):.1f} s"


def verdict_line(proposal: pb.Proposal) -> str:
    """One line for a judged proposal."""
    parts = [f"#{proposal.number} {verdict_name(proposal.verdict) or 'open'}", f"val_bpb {_score(proposal)}"]
    if proposal.HasField("difference"):
        parts.append(f"difference {difference_text(proposal)}")
    parts.append(one_line(proposal.description))
    if proposal.reason:
        parts.append(f"[{one_line(proposal.reason)}]")
    return "  ".join(parts)


def proposal_table(proposals: list[pb.Proposal]) -> Table:
    """All proposals, oldest first, as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, settings in (
        ("#", {"justify": "right", "no_wrap": True}),
        ("verdict", {"no_wrap": True}),
        ("val_bpb", {"no_wrap": True}),
        ("difference", {"no_wrap": True}),
        ("runs", {"justify": "right", "no_wrap": True}),
        ("change", {}),
        ("why", {}),
    ):
        table.add_column(name, **settings)
    for proposal in proposals:
        verdict = verdict_name(proposal.verdict)
        table.add_row(
            str(proposal.number),
            Text(verdict or "open", style=_STYLES.get(verdict, "")),
            _score(proposal),
            difference_text(proposal),
            str(sum(not run.void for run in proposal.runs)),
            one_line(proposal.description),
            one_line(proposal.reason),
        )
    return table


def _score(proposal: pb.Proposal) -> str:
    return score_text(proposal.val_bpb if proposal.HasField("val_bpb") else None)
