"""`autoresearch certs`: what daemons on several hosts need to trust each other."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import options as shared
from agent.cli.console import print_json, print_line
from services.errors import ConfigurationError, is_full_disk

_HOST = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,252})?")


def certs(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to; keep ca.key off the hosts.")],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Host name or IP address that the daemons are reached by; repeat it."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=825, help="How long the certificates are valid.")] = 365,
    renew: Annotated[bool, typer.Option("--renew", help="Replace certificates; CA and token stay.")] = False,
    as_json: shared.Json = False,
) -> None:
    """Make a private CA, a certificate for each daemon and for clients, and a bearer token.

    Daemons take them with --tls-cert, --tls-key, --tls-client-ca and --token-file; `run --agent` with --ca,
    --cert, --key and --token-file.
    """
    from agent.certificates import make_certificates

    for name in host or []:
        if not _HOST.fullmatch(name):
            raise ConfigurationError(f"--host: {name!r} is not a host name or IP address")
    now = datetime.datetime.now(datetime.UTC)
    try:
        paths = make_certificates(out, host or [], days=days, now=now, renew=renew)
    except OSError as error:
        if is_full_disk(error):
            raise
        raise ConfigurationError(
            f"--out: {out} cannot be written ({error.strerror or error}): name a folder that can"
        ) from error
    if as_json:
        print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        print_line(str(path))
