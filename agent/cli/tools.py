"""`autoresearch tools`, `call` and `stop`: a session by hand, under the same judge as the loop."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli import options as shared
from agent.cli.console import one_line, print_json, print_line, print_note
from agent.cli.exit_codes import ExitCode
from agent.cli.session_text import stop_text
from agent.launch.plan import LaunchOptions
from agent.session.session_json import session_dict
from services.errors import InvalidArgumentError, NotFoundError


def tools(
    lab: shared.Lab = shared.DEFAULT_LAB,
    data: shared.Data = None,
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
    as_json: shared.Json = False,
) -> None:
    """List the tools that `call` accepts, with their parameters."""
    from agent.cli.lab_daemons import open_agent

    launch = LaunchOptions(lab=Path(lab).absolute(), data=shared.data_folder(data, lab))

    async def show() -> None:
        security = shared.client_security(token_file, ca, cert, key)
        async with open_agent(agent, security, launch, note=print_note) as link:
            listed = await link.client.list_tools()
        if as_json:
            entries = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": json.loads(tool.parameters_json_schema or "{}"),
                }
                for tool in listed
            ]
            print_json({"tools": entries})
            return
        for tool in listed:
            names = json.loads(tool.parameters_json_schema or "{}").get("properties", {})
            print_line(f"{tool.name}({', '.join(names)})")
            print_line(f"    {one_line(tool.description)}")

    asyncio.run(show())


def call(
    name: Annotated[str, typer.Argument(help="One of `autoresearch tools`.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A JSON object, name=value pairs, or - to read a JSON object from stdin."),
    ] = None,
    lab: shared.Lab = shared.DEFAULT_LAB,
    tag: shared.Tag = shared.DEFAULT_TAG,
    data: shared.Data = None,
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
) -> None:
    """Call one tool by hand and print its result, a JSON object of at most 4 KiB.

    Daemons that do not run are started for the call; `autoresearch run --manual` keeps them running between
    calls. Exit codes: 0 done, 1 the tool refused (the result says why), 3 the loop holds the session.
    """
    text = read_arguments(arguments or [])
    wanted = pb.StartSessionRequest(
        lab=lab if agent else str(Path(lab).absolute()), tag=tag, provider="auto", manual=True
    )
    launch = LaunchOptions(lab=Path(lab).absolute(), data=shared.data_folder(data, lab))
    from agent.cli.by_hand import call_tool

    security = shared.client_security(token_file, ca, cert, key)
    response = asyncio.run(call_tool(agent, security, launch, wanted, name, text))
    print_line(response.result_json)
    raise typer.Exit(ExitCode.FAILED if response.failed else ExitCode.OK)


def stop(
    lab: shared.Lab = shared.DEFAULT_LAB,
    tag: shared.Tag = shared.DEFAULT_TAG,
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
    as_json: shared.Json = False,
) -> None:
    """Stop a running session; answers when nothing of it runs any more. `run` resumes it."""
    from agent.cli.lab_daemons import find_session, open_running_agent

    place = lab if agent else str(Path(lab).absolute())

    async def end() -> pb.Session:
        security = shared.client_security(token_file, ca, cert, key)
        async with open_running_agent(agent, security, Path(lab)) as client:
            session = await find_session(client, place, tag)
            if session is None:
                raise NotFoundError(
                    f"no session {tag!r} of the lab {lab} is known", reason="SESSION_NOT_FOUND"
                )
            return await client.stop_session(session.session_id)

    session = asyncio.run(end())
    if as_json:
        print_json(session_dict(session))
    else:
        print_line(f"stopped: {stop_text(session)}")


def read_arguments(parts: Sequence[str]) -> str:
    """The JSON text of a tool's arguments. Raises InvalidArgumentError for what is neither JSON nor pairs."""
    if not parts:
        return "{}"
    if len(parts) == 1 and (parts[0] == "-" or parts[0].lstrip().startswith("{")):
        try:
            text = sys.stdin.read() if parts[0] == "-" else parts[0]
            value = json.loads(text)
        except ValueError as error:
            raise InvalidArgumentError(f"the arguments are not JSON: {error}", field="arguments") from error
        if not isinstance(value, dict):
            raise InvalidArgumentError("the arguments must be a JSON object, {…}", field="arguments")
        return text
    pairs: dict[str, object] = {}
    for part in parts:
        name, separator, text = part.partition("=")
        if not separator or not name:
            raise InvalidArgumentError(f"{part!r} is neither name=value nor a JSON object", field="arguments")
        try:
            pairs[name] = json.loads(text)
        except ValueError:
            pairs[name] = text
    return json.dumps(pairs)
