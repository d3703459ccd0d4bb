"""`autoresearch up`: the four daemons on their default ports, in the foreground."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import options as shared
from agent.cli.console import print_json, print_line, print_note
from agent.cli.exit_codes import ExitCode
from agent.cli.interrupts import Interrupted, catch_interrupts, unless_interrupted
from agent.launch.plan import DEFAULT_PORTS, LaunchOptions
from services.errors import ConfigurationError

TAKEN = "the port is taken"


def up(
    lab: shared.LocalLab = shared.DEFAULT_LAB,
    data: shared.Data = None,
    memory: Annotated[str, typer.Option(help="As in `run`.")] = "",
    entropy_source: Annotated[str, typer.Option(help="As in `run`.")] = "auto",
    executor: Annotated[str, typer.Option(help="local or scripted.")] = "local",
    unsafe: Annotated[bool, typer.Option("--unsafe", help="As in `run`.")] = False,
    as_json: shared.Json = False,
) -> None:
    """Start entropyd, memoryd, trainerd and agentd and keep them alive until Ctrl-C.

    `autoresearch run --lab DIR` then attaches to them, and so does `--agent HOST:PORT` from elsewhere.
    """
    options = LaunchOptions(
        lab=Path(lab).absolute(),
        data=shared.data_folder(data, lab),
        memory=memory,
        entropy_source=entropy_source,
        executor=executor,
        unsafe=unsafe,
        default_ports=True,
    )
    raise typer.Exit(asyncio.run(_serve(options, as_json=as_json)))


async def _serve(options: LaunchOptions, *, as_json: bool) -> ExitCode:
    from agent.cli.lab_daemons import AgentLink, open_lab

    async def hold(link: AgentLink) -> None:
        assert link.stack is not None
        raise await link.stack.broken

    with catch_interrupts() as asked:
        link_context = open_lab(options, note=print_note)
        try:
            link = await unless_interrupted(link_context.__aenter__(), asked)
        except Interrupted:
            return ExitCode.INTERRUPTED
        except ConfigurationError as error:
            if TAKEN not in error.message:
                raise
            raise ConfigurationError(
                f"{error.message.partition(TAKEN)[0]}{TAKEN}: `up` takes the default ports, so stop what "
                "holds it (another `up`?); `autoresearch run` takes free ones"
            ) from error
        try:
            if link.stack is None:
                print_note("nothing was started: these daemons run already")
                return ExitCode.REFUSED
            for name in DEFAULT_PORTS:
                entry = link.stack.addresses.get(name)
                if entry is not None and as_json:
                    print_json({"service": name, "pid": entry.pid, "grpc": entry.grpc, "http": entry.http})
                elif entry is not None:
                    print_line(f"{name:<9} gRPC {entry.grpc:<22} HTTP http://{entry.http}")
            await unless_interrupted(hold(link), asked)
        except Interrupted:
            return ExitCode.OK
        finally:
            await link_context.__aexit__(None, None, None)
    return ExitCode.OK
