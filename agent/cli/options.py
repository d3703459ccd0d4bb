"""Options that several commands share, and what they mean together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.remembered_flags import remembered_data
from agent.lab.workspace import SOURCE_NAME, STATE_NAME
from services.addresses import parse_address
from services.errors import ConfigurationError
from services.security import ClientSecurity, read_secret


def _checked_tag(tag: str) -> str:
    """Nothing stands for the default: a script's empty variable must not reach another session."""
    if not tag:
        raise ConfigurationError("--tag: '' names no session; leave the flag out for the session \"lab\"")
    return tag


def _checked_lab(context: typer.Context, lab: str) -> str:
    """A script's empty variable must not make a lab of its folder. No flag, inside a lab: that lab."""
    if not lab:
        raise ConfigurationError("--lab: '' names no folder; leave the flag out for the folder \"lab\"")
    source = context.get_parameter_source("lab")
    if source is not None and source.name == "DEFAULT" and _stands_in_a_lab():
        return "."
    return lab


def _stands_in_a_lab() -> bool:
    here = Path(STATE_NAME).is_dir() and Path(SOURCE_NAME).is_file()
    return here and not Path(DEFAULT_LAB).exists()


def _checked_agent(address: str) -> str:
    return checked_address(address, "--agent")


Lab = Annotated[
    str,
    typer.Option(
        "--lab",
        metavar="DIR",
        callback=_checked_lab,
        help="Folder of the lab, by default the one you stand in; with --agent a path on that host.",
    ),
]
LocalLab = Annotated[
    str,
    typer.Option(
        "--lab",
        metavar="DIR",
        callback=_checked_lab,
        help="Folder of the lab; by default that you stand in.",
    ),
]
Agent = Annotated[
    str,
    typer.Option(
        "--agent",
        metavar="HOST:PORT",
        callback=_checked_agent,
        envvar="AUTORESEARCH_AGENT",
        help="Use this agentd instead of the lab's own daemons.",
    ),
]
Tag = Annotated[
    str, typer.Option("--tag", callback=_checked_tag, help="The session; its branch is autoresearch/TAG.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program, and nothing else on stdout.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder that holds the data sets; default: that of the lab's last run, else ./data.",
    ),
]
Preset = Annotated[
    str, typer.Option("--preset", help="Sizes and hyperparameters by device; default: this device's.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="AUTORESEARCH_TOKEN_FILE", help="File with the bearer token of --agent."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="AUTORESEARCH_CA", help="CA that --agent's certificate must come from (PEM)."
    ),
]
CertFile = Annotated[
    Path | None,
    typer.Option("--cert", envvar="AUTORESEARCH_CERT", help="Own certificate for mutual TLS (PEM)."),
]
KeyFile = Annotated[
    Path | None, typer.Option("--key", envvar="AUTORESEARCH_KEY", help="Key of --cert (PEM).")
]

DEFAULT_LAB = "lab"
DEFAULT_DATA = Path("data")
DEFAULT_TAG = "lab"


def data_folder(data: Path | None, lab: str) -> Path:
    """What --data says, else where the lab's last run had its data, else ./data; absolute."""
    return (data or remembered_data(Path(lab).absolute() / STATE_NAME) or DEFAULT_DATA).absolute()


def client_security(
    token_file: Path | None, ca: Path | None, cert: Path | None, key: Path | None
) -> ClientSecurity | None:
    """What the client shows to a remote daemon. Raises ConfigurationError for an unreadable file."""
    token = read_secret(token_file, "--token-file")
    if token is None and ca is None and cert is None:
        return None
    return ClientSecurity(token=token, ca=ca, cert=cert, key=key)


def checked_address(text: str, name: str) -> str:
    """HOST:PORT as given, or "". Raises ConfigurationError that names the flag."""
    if text:
        parse_address(text, name=name)
    return text
