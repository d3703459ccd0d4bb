"""`autoresearch container`: the agent's process under compose: agentd, and a session where one is wanted."""

from __future__ import annotations

import asyncio
import shlex
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from agent.cli.console import print_note
from agent.cli.ending import end_process
from agent.cli.exit_codes import ExitCode
from agent.cli.interrupts import catch_interrupts
from agent.cli.same_command import COMPOSE_OPTIONS
from agent.launch.environment import child_environment
from services.errors import ConfigurationError

START_SECONDS = 60.0
# Twice in a row, for the session and for agentd, it fits into the twenty seconds that compose grants.
GRACE_SECONDS = 8.0


def container(
    session: Annotated[
        bool | None,
        typer.Option(
            "--session/--daemon",
            envvar="AUTORESEARCH_SESSION_AUTOSTART",
            help="Run a session, or serve only; default: a session when there is a terminal.",
        ),
    ] = None,
    options: Annotated[
        str,
        typer.Option(
            envvar="AUTORESEARCH_SESSION_OPTIONS", help="Options of `autoresearch run` for the session."
        ),
    ] = "",
    lab: Annotated[str, typer.Option(help="The lab's folder in the container.")] = "/lab",
    shared_agent: Annotated[
        str, typer.Option(help="An agentd of the stack; used instead of an own one when it answers.")
    ] = "agent:50054",
    token_file: Annotated[str, typer.Option(help="File with agentd's token.")] = "/secrets/token",
    listen: Annotated[str, typer.Option(help="agentd's gRPC address, HOST:PORT.")] = "0.0.0.0:50054",
    http_listen: Annotated[str, typer.Option(help="Address of its dashboard.")] = "0.0.0.0:8780",
) -> None:
    """Serve agentd and, on a terminal or when asked, run a session against it.

    On a terminal the container ends with the session; without one agentd goes on serving. A second container
    beside a running stack is a client of that stack's agentd.
    """
    terminal = sys.stdin.isatty()
    wanted = terminal if session is None else session or terminal
    try:
        follow = ["run", "--lab", lab, "--token-file", token_file, *shlex.split(options)]
    except ValueError as error:
        raise ConfigurationError(f"AUTORESEARCH_SESSION_OPTIONS: {options!r}: {error}") from error
    own = _Agentd(
        ["--listen", listen, "--http-listen", http_listen], f"127.0.0.1:{listen.rpartition(':')[2]}"
    )
    raise typer.Exit(
        asyncio.run(
            _serve(_Session(follow, options), shared_agent, own, wanted=wanted, end_with_session=terminal)
        )
    )


@dataclass(frozen=True)
class _Session:
    """The command that follows it, and the options that it was given."""

    command: list[str]
    options: str

    async def start(self, agent: str) -> asyncio.subprocess.Process:
        return await _start("agent.cli", [*self.command, "--agent", agent], **{COMPOSE_OPTIONS: self.options})


@dataclass(frozen=True)
class _Agentd:
    """This container's own: its flags, and where it is reached from inside."""

    flags: list[str]
    address: str


async def _serve(
    session: _Session, shared_agent: str, own: _Agentd, *, wanted: bool, end_with_session: bool
) -> int:
    from services.health_check import is_serving

    with catch_interrupts() as asked:
        stop = asyncio.create_task(asked.wait())
        if end_with_session and await is_serving(shared_agent, timeout=2.0):
            print_note(f"agentd of the stack answers at {shared_agent}: following a session there")
            return await _finish(await session.start(shared_agent), stop)
        agentd = await _start("agent", own.flags)
        gone = asyncio.create_task(agentd.wait())
        try:
            if await _is_up(own.address, gone, stop):
                if wanted:
                    code = await _finish(await session.start(own.address), gone, stop)
                    if end_with_session and not gone.done():
                        return code
                await asyncio.wait({gone, stop}, return_when=asyncio.FIRST_COMPLETED)
            elif not stop.done():
                print_note("agentd did not start; its message stands above")
            return ExitCode.OK if stop.done() else ExitCode.FAILED
        finally:
            await end_process(agentd, GRACE_SECONDS)


async def _start(module: str, arguments: list[str], **more: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-P", "-m", module, *arguments]
    return await asyncio.create_subprocess_exec(*command, env=child_environment(with_keys=True) | more)


async def _is_up(address: str, *ends: asyncio.Task[Any]) -> bool:
    """Waits until agentd serves; False when one of `ends` comes first, or nothing for a minute."""
    from services.health_check import is_serving

    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not any(end.done() for end in ends) and asyncio.get_running_loop().time() < deadline:
        if await is_serving(address, timeout=1.0):
            return True
        await asyncio.sleep(0.2)
    return False


async def _finish(process: asyncio.subprocess.Process, *ends: asyncio.Task[Any]) -> int:
    """The exit code of a session's client, which is ended when one of `ends` comes first."""
    ended = asyncio.create_task(process.wait())
    await asyncio.wait({ended, *ends}, return_when=asyncio.FIRST_COMPLETED)
    return await ended if ended.done() else await end_process(process, GRACE_SECONDS)
