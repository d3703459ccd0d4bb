"""Follows a session from its start to its end, a detach or an interrupt, and says what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli.console import open_console, print_json, print_note
from agent.cli.exit_codes import ExitCode
from agent.cli.interrupts import Interrupted, catch_interrupts, unless_interrupted
from agent.cli.lab_daemons import AgentLink
from agent.cli.same_command import Commands, command
from agent.cli.session_request import resume_request
from agent.cli.session_summary import print_summary, summary_dict
from agent.cli.session_text import FAILED_STOPS
from agent.cli.session_view import SessionView
from services.agent_client import AgentClient
from services.errors import NotFoundError, ServiceError, UnavailableError

STOP_RPC_SECONDS = 2.0
REOPEN_ATTEMPTS = 20
_WORKING = frozenset(
    {
        pb.SESSION_STATE_MEASURING_NOISE,
        pb.SESSION_STATE_PROPOSING,
        pb.SESSION_STATE_RUNNING,
        pb.SESSION_STATE_JUDGING,
        pb.SESSION_STATE_MANUAL,
    }
)


@dataclass
class Outcome:
    """What is known of the session when the command ends."""

    session: pb.Session = field(default_factory=pb.Session)
    proposals: list[pb.Proposal] = field(default_factory=list)
    detached: bool = False
    interrupted: bool = False
    unread: bool = False
    """Nobody reads stdout any more (`| head`): an interrupt without a summary."""


async def follow_session(
    open_link: Callable[[], AbstractAsyncContextManager[AgentLink]],
    request: pb.StartSessionRequest,
    commands: Commands,
    *,
    as_json: bool,
    working: Callable[[], None] = lambda: None,
) -> ExitCode:
    """Runs the whole command; `commands` are for its hints.

    `working` is called once a session of own daemons has its data and does something with it.

    Raises the ServiceError that kept the session from starting or going on.
    """
    console = open_console()
    outcome = Outcome()
    with catch_interrupts() as asked:
        try:
            async with AsyncExitStack() as stack:
                link = await unless_interrupted(stack.enter_async_context(open_link()), asked)
                with SessionView(console, as_json=as_json) as view:
                    try:
                        follow = _follow(link, request, view, outcome, working)
                        work = unless_broken(follow, link)
                        await unless_interrupted(work, asked)
                    except (Interrupted, BrokenPipeError) as end:
                        outcome.interrupted = True
                        outcome.unread = isinstance(end, BrokenPipeError)
                        outcome.detached = link.stack is None
                        if link.stack is not None:
                            await _stop(link.client, outcome)
                    if outcome.session.session_id and not outcome.unread:
                        await _collect(link.client, outcome)
        except Interrupted:
            outcome.interrupted = True
    if outcome.detached:
        print_note(
            "detached; the session goes on. Follow it again with the same command, stop it with "
            f"`{command('stop', request.lab, request.tag, commands.peer)}`"
        )
    if outcome.unread:
        raise BrokenPipeError
    if as_json:
        print_json(summary_dict(outcome.session, outcome.proposals, outcome.interrupted))
    elif outcome.session.session_id and not outcome.detached:
        print_summary(console, outcome.session, outcome.proposals, commands)
    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if outcome.session.stop_reason in FAILED_STOPS else ExitCode.OK


async def unless_broken(work: Awaitable[None], link: AgentLink) -> None:
    """`work`, or the error of own daemons that cannot be kept alive."""
    if link.stack is None:
        return await work
    task = asyncio.ensure_future(work)
    try:
        waited: list[asyncio.Future[Any]] = [task, link.stack.broken]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise link.stack.broken.result()
        task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _follow(
    link: AgentLink,
    request: pb.StartSessionRequest,
    view: SessionView,
    outcome: Outcome,
    working: Callable[[], None],
) -> None:
    response = await link.client.start_session(request)
    outcome.session = session = response.session
    again = resume_request(request, session.proposal_count)
    if response.resumed and (session.proposal_count or link.stack is not None):
        count = session.proposal_count
        plural = "" if count == 1 else "s"
        view.say(f"resuming {session.lab} ({session.tag}): {count} proposal{plural} so far")
    view.show(pb.WatchSessionResponse(session=session))
    after = session.last_sequence
    for _ in range(REOPEN_ATTEMPTS):
        try:
            async for event in link.client.watch_session(session.session_id, after_sequence=after):
                after = event.sequence or after
                if event.HasField("session"):
                    outcome.session = event.session
                    if link.stack is not None and event.session.state in _WORKING:
                        working()
                view.show(event)
            outcome.session = await link.client.get_session(session.session_id)
            if outcome.session.state == pb.SESSION_STATE_STOPPED:
                return
        except NotFoundError:
            if link.stack is None:
                raise
            # A restarted agentd knows the lab again only once it is told of it.
            await link.client.start_session(again)
        await asyncio.sleep(0.5)
    raise UnavailableError(
        "the session's stream ends again and again; see the agent's log", reason="STREAM_LOST"
    )


async def _stop(client: AgentClient, outcome: Outcome) -> None:
    """Asks agentd to stop; if it does not answer in two seconds, the signal that follows stops it too."""
    if not outcome.session.session_id:
        return
    try:
        outcome.session = await asyncio.wait_for(
            client.stop_session(outcome.session.session_id), STOP_RPC_SECONDS
        )
    except (ServiceError, TimeoutError):
        print_note("the agent did not confirm the stop; what is unfinished resumes at the next run")


async def _collect(client: AgentClient, outcome: Outcome) -> None:
    session = outcome.session
    try:
        async with asyncio.timeout(1.0 if outcome.interrupted else 10.0):
            outcome.proposals = await list_all_proposals(client, session.session_id)
    except (ServiceError, TimeoutError):
        history = command("history", session.lab, session.tag)
        print_note(f"the agent did not list its proposals; `{history}` shows them")


async def list_all_proposals(client: AgentClient, session_id: str) -> list[pb.Proposal]:
    """Every page, oldest first."""
    proposals: list[pb.Proposal] = []
    token = ""
    while True:
        page = await client.list_proposals(session_id, page_size=500, page_token=token)
        proposals.extend(page.proposals)
        token = page.next_page_token
        if not token:
            return proposals
