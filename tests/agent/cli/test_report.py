"""The morning report: one page, whatever the night was like."""

from __future__ import annotations

import math
from typing import Any

import pytest
from autoresearch.agent.v1 import agent_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.session_text import run_line
from agent.report import PAGE_LINES, report_lines, total_effect


def proposal(
    number: int, verdict: pb.Verdict.ValueType, difference: float | None = None, **fields: Any
) -> pb.Proposal:
    made = pb.Proposal(number=number, verdict=verdict, commit="c" * 40, **fields)
    if difference is not None:
        made.val_bpb, made.difference, made.difference_error = 1.5 + difference, difference, 0.01
    return made


def session(**fields: object) -> pb.Session:
    return pb.Session(lab="/lab", tag="lab", run_count=12, baseline_val_bpb=1.6, best_val_bpb=1.5, **fields)  # type: ignore[arg-type]


def test_kept_differences_add_up_with_their_errors() -> None:
    kept = [
        proposal(1, pb.VERDICT_KEEP, -0.03),
        proposal(2, pb.VERDICT_DISCARD, -0.5),
        proposal(3, pb.VERDICT_EQUIVALENT, 0.01),
    ]
    effect = total_effect(kept)
    assert effect is not None
    assert effect[0] == pytest.approx(-0.02)
    assert effect[1] == pytest.approx(0.01 * math.sqrt(2))
    assert total_effect(kept[1:2]) is None


def test_the_report_says_what_happened_and_what_to_try() -> None:
    night = [
        proposal(0, pb.VERDICT_BASELINE),
        proposal(1, pb.VERDICT_KEEP, -0.03, description="deeper"),
        proposal(2, pb.VERDICT_DISCARD, -0.02, description="a near miss"),
        proposal(3, pb.VERDICT_DISCARD, 0.09, description="a clear loss"),
        proposal(4, pb.VERDICT_CRASH, reason="OUT_OF_DEVICE_MEMORY"),
        proposal(5, pb.VERDICT_CRASH, reason="OUT_OF_DEVICE_MEMORY"),
        proposal(6, pb.VERDICT_REFUSED, reason="a repeat of 3"),
    ]
    text = "\n".join(report_lines(session(cost_usd=1.5, noise_sigma=0.02), night, "-DEPTH = 4\n+DEPTH = 5\n"))
    assert (
        "6 proposals in 12 training runs: 1 kept, 0 kept as simpler, 2 discarded, 2 failed, 1 refused" in text
    )
    assert "95 % interval -0.0496 to -0.0104" in text
    assert "1.50 US dollars" in text
    assert "Worth another look" in text
    assert "a near miss" in text
    assert "a clear loss" not in text
    assert "2 x OUT_OF_DEVICE_MEMORY" in text
    assert "+DEPTH = 5" in text


def test_a_night_without_a_baseline_is_reported_too() -> None:
    text = "\n".join(report_lines(pb.Session(lab="/lab", tag="lab"), []))
    assert "The baseline has no score yet." in text
    assert "Kept: nothing" in text


verdicts = st.sampled_from([pb.VERDICT_KEEP, pb.VERDICT_DISCARD, pb.VERDICT_CRASH, pb.VERDICT_REFUSED])
nights = st.lists(
    st.tuples(verdicts, st.one_of(st.none(), st.floats(-1, 1)), st.text(max_size=400), st.text(max_size=400)),
    max_size=300,
)


@settings(max_examples=60, deadline=None)
@given(nights, st.text(max_size=4000))
def test_it_never_exceeds_a_page_and_never_passes_on_control_characters(
    night: list[tuple[pb.Verdict.ValueType, float | None, str, str]], diff: str
) -> None:
    proposals = [
        proposal(number, verdict, difference, description=description, reason=reason)
        for number, (verdict, difference, description, reason) in enumerate(night, start=1)
    ]
    lines = report_lines(session(), proposals, diff)
    assert len(lines) <= PAGE_LINES
    assert not any("\n" in line or "\x1b" in line or "\r" in line for line in lines)
    assert all(len(line) <= 200 for line in lines)


def test_a_short_session_is_told_in_minutes() -> None:
    session = pb.Session(lab="/lab", tag="lab")
    session.active_time.seconds = 90
    assert any(line.startswith("Cost: 1.5 minutes, ") for line in report_lines(session, []))
    session.active_time.seconds = 5400
    assert any(line.startswith("Cost: 1.5 hours, ") for line in report_lines(session, []))


def test_a_discard_made_before_the_noise_was_known_is_seen_by_what_is_known_now() -> None:
    early = proposal(
        1, pb.VERDICT_DISCARD, -0.0099, description="early", differences=(-0.0035, -0.015, -0.0112)
    )
    early.difference_error = 0.0146
    known = "\n".join(report_lines(session(noise_sigma=0.0043), [early]))
    assert "Worth another look" in known
    assert "#1 -0.0099 ± 0.0034  early" in known, "its own three pairs lie farther apart than is usual"
    for noise in ({"noise_sigma": 0.03}, {}):
        assert "Worth another look" not in "\n".join(report_lines(session(**noise), [early]))
    wild = proposal(2, pb.VERDICT_DISCARD, -0.0563, differences=(-0.0255, -0.1306, -0.2196, 0.1506))
    wild.difference_error = 0.0631
    assert "Worth another look" not in "\n".join(report_lines(session(noise_sigma=0.0123), [wild]))
    once = proposal(3, pb.VERDICT_DISCARD, -0.02, differences=(-0.02,))
    once.difference_error = 0.03
    assert "#3 -0.0200 ± 0.0043" in "\n".join(report_lines(session(noise_sigma=0.0043), [once]))


def test_what_is_under_way_is_counted_and_nothing_is_said_to_be_beaten() -> None:
    lines = report_lines(session(), [proposal(1, pb.VERDICT_RETEST, 0.01), proposal(2, pb.VERDICT_CRASH)])
    assert lines[2].endswith("1 failed, 0 refused unrun, 1 unfinished")
    assert "nothing was shown to beat it" in lines[3]


def test_a_run_that_does_not_count_is_not_called_a_failure() -> None:
    runs = [
        pb.Run(failure_reason="CANCELLED", void=True),
        pb.Run(val_bpb=1.5, failure_reason="VOID", void=True),
        pb.Run(failure_reason="OUT_OF_DEVICE_MEMORY"),
        pb.Run(val_bpb=1.4),
    ]
    made = pb.Proposal(number=1, runs=runs)
    assert [run_line(made, index).partition("  ")[2] for index in range(4)] == [
        "CANCELLED: does not count  0.0 s",
        "val_bpb 1.500000, does not count  0.0 s",
        "failed: OUT_OF_DEVICE_MEMORY  0.0 s",
        "val_bpb 1.400000  0.0 s",
    ]
