"""What `memoryd VERB …` does beside serving."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from services.errors import ConfigurationError

Verb = Callable[[Sequence[str]], int]


def find_verb(arguments: Sequence[str]) -> Verb | None:
    """The verb that the first argument names; None for the daemon. Imports it only then."""
    if not arguments or arguments[0].startswith("-"):
        return None
    match arguments[0]:
        case "restore":
            return restore
        case "bench":
            from memoryd.bench.command import main as bench

            return bench
        case "migrate":
            from memoryd.migrate import main as migrate

            return migrate
        case "mcp":
            from memoryd.mcp_server import main as mcp

            return mcp
    raise ConfigurationError(
        f"{arguments[0]!r} is no verb of memoryd; use bench, mcp, migrate or restore, or flags to serve"
    )


def restore(arguments: Sequence[str]) -> int:
    """Puts a backup where a SQLite store shall be; never overwrites one."""
    parser = argparse.ArgumentParser("memoryd restore", description=restore.__doc__)
    parser.add_argument("--from", dest="source", required=True, help="file that BackupStore wrote")
    parser.add_argument("--to", dest="target", required=True, help="sqlite:///PATH of the new store")
    given = parser.parse_args(list(arguments))
    from memoryd.sqlite.copy import restore_copy

    if not given.target.startswith("sqlite:///"):
        raise ConfigurationError(f"--to: {given.target!r} is not sqlite:///PATH")
    result = restore_copy(Path(given.source), Path(given.target.removeprefix("sqlite:///")))
    answer = {"rows": result.row_count, "bytes": result.byte_count, "sha256": result.sha256}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0
