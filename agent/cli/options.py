"""Options that several commands share, and what they mean together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.addresses import parse_address
from services.errors import ConfigurationError
from services.security import ClientSecurity, read_secret


def _checked_tag(tag: str) -> str:
    """Nothing stands for the default: a script's empty variable must not reach another session."""
    if not tag:
        raise ConfigurationError("--tag: '' names no session; leave the flag out for the session \"lab\"")
    return tag


def _checked_lab(lab: str) -> str:
    """A script's empty variable must not make a lab of the folder it stands in."""
    if not lab:
        raise ConfigurationError("--lab: '' names no folder; leave the flag out for the folder \"lab\"")
    return lab


def _checked_agent(address: str) -> str:
    return checked_address(address, "--agent")


Lab = Annotated[
    str,
    typer.Option(
        "--lab",
        metavar="DIR",
        callback=_checked_lab,
        help="Folder of the lab; with --agent a path on that host.",
    ),
]
LocalLab = Annotated[
    str, typer.Option("--lab", metavar="DIR", callback=_checked_lab, help="Folder of the lab.")
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
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that holds the data sets.")]
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
