"""What a session came to: a table, what was kept and why, the noise floor, and how to go on."""

from __future__ import annotations

from pathlib import PurePath

from autoresearch.agent.v1 import agent_pb2 as pb
from rich.console import Console

from agent.cli.console import one_line, print_text
from agent.cli.same_command import NO_FLAGS, Commands, command
from agent.cli.session_text import difference_text, proposal_table, score_text, stop_text, verdict_line
from agent.report import KEPT, total_effect
from agent.session.session_json import proposal_dict, session_dict

NARROW = 80
"""Columns below which a table would cut the words off; a terminal then gets a paragraph a proposal."""


def summary_dict(session: pb.Session, proposals: list[pb.Proposal], interrupted: bool) -> dict[str, object]:
    """The last line of `run --json`."""
    return {
        "type": "summary",
        "interrupted": interrupted,
        "session": session_dict(session),
        "proposals": [proposal_dict(proposal) for proposal in proposals],
    }


def print_summary(
    console: Console,
    session: pb.Session,
    proposals: list[pb.Proposal],
    commands: Commands = NO_FLAGS,
    *,
    last: int | None = None,
) -> None:
    """The table, of the newest `last` proposals if given, and below it the facts, which are of all."""
    shown = proposals[-(last or 0) :]
    console.print()
    if console.width < NARROW:
        for proposal in shown:
            print_text(console, verdict_line(proposal))
    else:
        console.print(proposal_table(shown))
    console.print()
    for line in summary_lines(session, proposals):
        print_text(console, line)
    for line in where_lines(session, commands):
        print_text(console, line, fold=False)


def summary_lines(session: pb.Session, proposals: list[pb.Proposal]) -> list[str]:
    """Below the table, one fact a line."""
    lines = []
    if session.HasField("baseline_val_bpb"):
        best = session.best_val_bpb if session.HasField("best_val_bpb") else session.baseline_val_bpb
        effect = total_effect([proposal for proposal in proposals if proposal.number > 0])
        lines.append(
            f"Baseline {score_text(session.baseline_val_bpb)}, best {score_text(best)} bits per byte"
            + (
                f", each the mean over its own seeds; on equal seeds what was kept changes the score by "
                f"{effect[0]:+.4f} ± {effect[1]:.4f}"
                if effect
                else " (no improvement yet)"
            )
        )
    if session.HasField("noise_sigma"):
        lines.append(
            f"Noise floor: a paired difference varies by {session.noise_sigma:.4f} bits per byte (one sigma) "
            "without any change; smaller gains are not believed from one pair"
        )
    kept = [proposal for proposal in proposals if proposal.verdict in KEPT and proposal.number > 0]
    tried = sum(proposal.number > 0 for proposal in proposals)
    lines.append(f"Kept: {len(kept)} of {tried} proposals, {session.run_count} training runs")
    for proposal in kept:
        lines.append(
            f"  #{proposal.number} {proposal.commit[:7]} {one_line(proposal.description)}: "
            f"{difference_text(proposal)}; {one_line(proposal.reason)}"
        )
    if session.cost_usd or session.input_tokens:
        lines.append(
            f"Model: {session.input_tokens:,} tokens in, {session.output_tokens:,} out, "
            f"{session.cost_usd:.4f} US dollars"
        )
    if session.entropy_source:
        lines.append(f"Seeds from: {one_line(session.entropy_source)}")
    if session.state == pb.SESSION_STATE_STOPPED:
        lines.append(f"Stopped: {stop_text(session)}")
    return lines


def where_lines(session: pb.Session, commands: Commands) -> list[str]:
    """Where things are, and commands to copy that go on or look back."""
    lab = PurePath(session.lab)

    def copied(verb: str, more: str) -> str:
        return command(verb, session.lab, session.tag, more)

    lines = [f"Lab: {lab} (git branch autoresearch/{session.tag}; train.py is the best so far)"]
    if session.HasField("noise_sigma"):  # the baseline is measured; neither is written before
        lines.append(f"Experiments: {lab / 'results.tsv'}   Best weights: {lab / 'best'}")
    return [
        *lines,
        f"Logs: {lab / '.autoresearch' / 'logs'}",
        f"Go on: {copied('run', commands.again)}",
        f"Look back: {copied('history', commands.peer)}",
        f"Report: {copied('report', commands.peer)}",
    ]
