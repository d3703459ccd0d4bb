"""`autoresearch container`: the agent's process under compose: agentd, and a session where one is wanted."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import Annotated

import typer

from agent.cli.console import print_note
from agent.cli.ending import end_process
from agent.cli.exit_codes import ExitCode
from agent.cli.interrupts import Interrupted, catch_interrupts, unless_interrupted
from agent.launch.environment import child_environment

OWN_ADDRESS = "127.0.0.1:50054"
START_SECONDS = 60.0
GRACE_SECONDS = 10.0


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
) -> None:
    """Serve agentd on 0.0.0.0 and, on a terminal or when asked, run a session against it.

    On a terminal the container ends with the session; without one agentd goes on serving. A second container
    beside a running stack is a client of that stack's agentd.
    """
    terminal = sys.stdin.isatty()
    wanted = terminal if session is None else session or terminal
    follow = ["run", "--lab", lab, "--token-file", token_file, *shlex.split(options)]
    raise typer.Exit(
        asyncio.run(_serve(follow, shared_agent, with_session=wanted, end_with_session=terminal))
    )


async def _serve(follow: list[str], shared_agent: str, *, with_session: bool, end_with_session: bool) -> int:
    from services.health_check import is_serving

    with catch_interrupts() as asked:
        if end_with_session and await is_serving(shared_agent, timeout=2.0):
            print_note(f"agentd of the stack answers at {shared_agent}: following a session there")
            return await _finish(await _start("agent.cli", [*follow, "--agent", shared_agent]), asked)
        agentd = await _start("agent", ["--listen", "0.0.0.0:50054", "--http-listen", "0.0.0.0:8780"])
        gone = asyncio.create_task(agentd.wait())
        try:
            if not await _wait_until_serving(gone, asked):
                return ExitCode.FAILED
            if with_session:
                runner = await _start("agent.cli", [*follow, "--agent", OWN_ADDRESS])
                code = await _finish(runner, asked)
                if end_with_session:
                    return code
            stop = asyncio.create_task(asked.wait())
            await asyncio.wait({gone, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            return ExitCode.OK if asked.is_set() else ExitCode.FAILED
        finally:
            await end_process(agentd, GRACE_SECONDS)


async def _start(module: str, arguments: list[str]) -> asyncio.subprocess.Process:
    command = [sys.executable, "-P", "-m", module, *arguments]
    return await asyncio.create_subprocess_exec(*command, env=child_environment(with_keys=True))


async def _wait_until_serving(gone: asyncio.Task[int], asked: asyncio.Event) -> bool:
    from services.health_check import is_serving

    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not gone.done() and not asked.is_set() and asyncio.get_running_loop().time() < deadline:
        if await is_serving(OWN_ADDRESS, timeout=1.0):
            return True
        await asyncio.sleep(0.2)
    print_note("agentd did not start; its message stands above")
    return False


async def _finish(process: asyncio.subprocess.Process, asked: asyncio.Event) -> int:
    """Waits for the process; a signal to us is passed on to it."""
    try:
        return await unless_interrupted(process.wait(), asked)
    except Interrupted:
        return await end_process(process, GRACE_SECONDS)
