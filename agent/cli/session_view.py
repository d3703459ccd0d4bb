"""Shows a session while it runs: lines for what is done, one live line for what is going on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from autoresearch.agent.v1 import agent_pb2 as pb
from rich.console import Console
from rich.status import Status

from agent.cli.console import one_line, print_json, print_text
from agent.cli.session_text import run_line, state_text, verdict_line
from agent.session.session_json import event_dict, verdict_name


class SessionView(AbstractContextManager["SessionView"]):
    """Takes every event of a session. Events that repeat what was shown (after a resume) show nothing.

    On a terminal the last line is live; elsewhere there is one line for each run, verdict and stage. With
    `as_json` each event is one JSON line and nothing else is written.
    """

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console = console
        self._as_json = as_json
        self._status: Status | None = None
        self._state = ""
        self._runs_shown: dict[int, int] = {}
        self._verdicts_shown: set[int] = set()
        self.session = pb.Session()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._as_json:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: pb.WatchSessionResponse) -> None:
        """One event of the stream."""
        kind = event.WhichOneof("event")
        if kind == "session":
            self.session = event.session
        if self._as_json:
            if kind is not None:
                print_json(event_dict(event))
            return
        match kind:
            case "session":
                self._show_session(event.session)
            case "proposal":
                self._show_proposal(event.proposal)
            case "progress":
                self._show_progress(event.progress)
            case "message":
                print_text(self._console, one_line(event.message))

    def say(self, text: str) -> None:
        """A line of our own, not part of the stream."""
        if not self._as_json:
            print_text(self._console, text)

    def _show_session(self, session: pb.Session) -> None:
        text = state_text(session)
        if self._status is not None:
            self._status.update(text)
        elif text != self._state and session.state in _STAGES:
            print_text(self._console, text)
        self._state = text

    def _show_proposal(self, proposal: pb.Proposal) -> None:
        shown = self._runs_shown.get(proposal.number, 0)
        for index in range(shown, len(proposal.runs)):
            run = proposal.runs[index]
            if not run.HasField("val_bpb") and not run.failure_reason:
                break
            print_text(self._console, run_line(proposal, index), "dim")
            self._runs_shown[proposal.number] = index + 1
        if proposal.state < pb.PROPOSAL_STATE_JUDGED or proposal.number in self._verdicts_shown:
            return
        if verdict_name(proposal.verdict) in ("", "retest"):
            return
        self._verdicts_shown.add(proposal.number)
        print_text(self._console, verdict_line(proposal))

    def _show_progress(self, progress: pb.RunProgress) -> None:
        if self._status is None:
            return
        speed = f", {progress.tokens_per_second:,.0f} tokens/s" if progress.tokens_per_second else ""
        loss = f", loss {progress.loss:.3f}" if progress.loss else ""
        self._status.update(
            f"#{progress.proposal_number} {one_line(progress.stage)} {progress.progress:.0%}{loss}{speed}"
        )


_STAGES = frozenset(
    {
        pb.SESSION_STATE_PREPARING_DATA,
        pb.SESSION_STATE_MEASURING_NOISE,
        pb.SESSION_STATE_MANUAL,
    }
)
