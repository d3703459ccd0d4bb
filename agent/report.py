"""The morning report: at most one page on what a session found, what it cost and what to try next. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from autoresearch.agent.v1 import agent_pb2 as pb

PAGE_LINES = 60
DIFF_LINES = 24
KEPT = (pb.VERDICT_KEEP, pb.VERDICT_EQUIVALENT)
NEAR_MISS_SIGMA = 1.0


def report_lines(session: pb.Session, proposals: Sequence[pb.Proposal], diff: str = "") -> list[str]:
    """Plain text, at most 60 lines. `diff` is the unified diff from the template to the best train.py."""
    tried = [proposal for proposal in proposals if proposal.number > 0]
    lines = [f"Report on {session.lab}, tag {session.tag}", ""]
    lines += _counts(session, tried)
    lines += _effect(session, tried)
    lines += _cost(session)
    lines += ["", *_kept(tried)]
    lines += _next(session, tried)
    room = PAGE_LINES - len(lines) - 2
    if diff.strip() and room > 4:
        lines += ["", *_cut(diff.splitlines(), min(room, DIFF_LINES))]
    return lines[:PAGE_LINES]


def total_effect(proposals: Sequence[pb.Proposal]) -> tuple[float, float] | None:
    """Sum of the kept paired differences and its standard error; None where nothing was kept.

    Each keep was measured against the incumbent before it, so the differences add up.
    """
    kept = [
        proposal for proposal in proposals if proposal.verdict in KEPT and proposal.HasField("difference")
    ]
    if not kept:
        return None
    variance = sum(proposal.difference_error**2 for proposal in kept)
    return sum(proposal.difference for proposal in kept), math.sqrt(variance)


def _counts(session: pb.Session, tried: Sequence[pb.Proposal]) -> list[str]:
    def count(*verdicts: pb.Verdict.ValueType) -> int:
        return sum(proposal.verdict in verdicts for proposal in tried)

    plural = "" if len(tried) == 1 else "s"
    unfinished = count(pb.VERDICT_UNSPECIFIED, pb.VERDICT_RETEST)
    return [
        f"{len(tried)} proposal{plural} in {session.run_count} training runs: {count(pb.VERDICT_KEEP)} kept, "
        f"{count(pb.VERDICT_EQUIVALENT)} kept as simpler, {count(pb.VERDICT_DISCARD)} discarded, "
        f"{count(pb.VERDICT_CRASH)} failed, {count(pb.VERDICT_REFUSED)} refused unrun"
        + (f", {unfinished} unfinished" if unfinished else "")
    ]


def _effect(session: pb.Session, tried: Sequence[pb.Proposal]) -> list[str]:
    if not session.HasField("baseline_val_bpb"):
        return ["The baseline has no score yet."]
    lines = []
    effect = total_effect(tried)
    if effect is None:
        lines.append(f"Baseline {session.baseline_val_bpb:.4f} bits per byte; nothing was shown to beat it.")
    else:
        low, high = effect[0] - 1.96 * effect[1], effect[0] + 1.96 * effect[1]
        lines.append(
            f"Baseline {session.baseline_val_bpb:.4f}, best {session.best_val_bpb:.4f} bits per byte; sum of "
            f"the kept differences {effect[0]:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
        )
        lines.append("  What is kept was chosen for being good on its seeds: expect a little less on others.")
    if session.HasField("noise_sigma"):
        lines.append(f"Noise of one paired difference: {session.noise_sigma:.4f} (one sigma)")
    return lines


def _cost(session: pb.Session) -> list[str]:
    """Time is that of all starts together, as the money is, and not a difference of dates."""
    hours = ""
    if seconds := session.active_time.ToMilliseconds() / 1000:
        hours = f"{seconds / 3600:.1f} hours, " if seconds >= 3600 else f"{seconds / 60:.1f} minutes, "
    money = f"{session.cost_usd:.2f} US dollars, {session.input_tokens + session.output_tokens:,} tokens"
    return [f"Cost: {hours}{money}; seeds from {_plain(session.entropy_source) or 'unknown'}"]


def _kept(tried: Sequence[pb.Proposal]) -> list[str]:
    kept = [proposal for proposal in tried if proposal.verdict in KEPT]
    if not kept:
        return ["Kept: nothing"]
    best = sorted(kept, key=lambda proposal: proposal.difference)[:8]
    lines = [f"Kept (strongest {len(best)} of {len(kept)}):" if len(kept) > 8 else "Kept:"]
    return lines + [f"  #{proposal.number} {proposal.commit[:7]} {_measured(proposal)}" for proposal in best]


def _next(session: pb.Session, tried: Sequence[pb.Proposal]) -> list[str]:
    """Near misses deserve more runs; failures with one cause deserve a look."""
    errors = {
        proposal.number: _error_now(session, proposal)
        for proposal in tried
        if proposal.verdict == pb.VERDICT_DISCARD and proposal.HasField("difference")
    }
    near = [
        proposal
        for proposal in tried
        if proposal.difference < -NEAR_MISS_SIGMA * errors.get(proposal.number, math.inf) < 0
    ]
    near.sort(key=lambda proposal: proposal.difference / errors[proposal.number])
    lines = []
    if near:
        lines += [
            "",
            "Worth another look (better by more than one error, which is no proof; errors as known now):",
        ]
        lines += [
            f"  #{proposal.number} {_measured(proposal, errors[proposal.number])}" for proposal in near[:5]
        ]
    failures: dict[str, int] = {}
    for proposal in tried:
        if proposal.verdict == pb.VERDICT_CRASH:
            reason = _plain(proposal.reason) or "unknown"
            failures[reason] = failures.get(reason, 0) + 1
    if failures:
        lines += ["", "Failures by cause:"]
        common = sorted(failures.items(), key=lambda item: -item[1])[:4]
        lines += [f"  {count} x {_short(reason)}" for reason, count in common]
    return lines


def _error_now(session: pb.Session, proposal: pb.Proposal) -> float:
    """A discard's error by the noise that is known now, where that is less than when it was judged.

    The first proposals of a session are judged while the noise is only bounded, often several times too wide.
    How far a proposal's own pairs lie apart still counts: some are noisier than others.
    """
    count = len(proposal.differences)
    if not session.noise_sigma or not count:
        return proposal.difference_error
    own = statistics.stdev(proposal.differences) if count > 1 else 0.0
    return min(proposal.difference_error, max(session.noise_sigma, own) / math.sqrt(count))


def _measured(proposal: pb.Proposal, error: float | None = None) -> str:
    if not proposal.HasField("difference"):
        return _short(proposal.description)
    error = proposal.difference_error if error is None else error
    return f"{proposal.difference:+.4f} ± {error:.4f}  {_short(proposal.description)}"


def _cut(lines: list[str], limit: int) -> list[str]:
    body = [_plain(line, keep_indent=True)[:110] for line in lines]
    head = ["Best train.py against the template:"]
    if len(body) < limit:
        return head + body
    return [
        *head,
        *body[: limit - 2],
        f"… {len(body) - limit + 2} more lines: git diff in the lab shows them",
    ]


def _short(text: str) -> str:
    plain = _plain(text)
    return plain if len(plain) <= 90 else plain[:89] + "…"


def _plain(text: str, *, keep_indent: bool = False) -> str:
    printable = "".join(
        character if character.isprintable() or character == "\t" else " " for character in text
    )
    return printable.rstrip() if keep_indent else " ".join(printable.split())
