"""`autoresearch history` and `report`: looking back, with or without running daemons."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli import options as shared
from agent.cli.console import open_console, print_json, print_line
from agent.cli.remembered_flags import remembered_flags
from agent.cli.same_command import Commands, flags_again
from agent.cli.session_summary import print_summary
from agent.lab.git_repository import git_command
from agent.lab.workspace import SOURCE_NAME, STATE_NAME
from agent.session.session_json import proposal_dict, session_dict
from services.security import ClientSecurity

# What a person has set for their own differences is not asked for.
_PLAIN = ("--no-color", "--no-ext-diff", "--no-textconv", "--unified=1")


def history(
    lab: shared.Lab = shared.DEFAULT_LAB,
    tag: shared.Tag = shared.DEFAULT_TAG,
    last: Annotated[int | None, typer.Option(min=1, help="Only the newest N proposals.")] = None,
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
    as_json: shared.Json = False,
) -> None:
    """Show what was tried and what came of it, from the lab's ledger.

    Works while a session runs and when nothing does. Exit code 3 where there is no such lab or tag.
    """
    session, proposals = _load(lab, tag, agent, shared.client_security(token_file, ca, cert, key))
    if as_json:
        shown = [proposal_dict(proposal) for proposal in proposals[-(last or 0) :]]
        print_json({"session": session_dict(session), "proposals": shown})
        return
    peer = flags_again(agent=agent, token_file=token_file, ca=ca, cert=cert, key=key)
    again = peer if agent else remembered_flags(Path(lab).absolute() / STATE_NAME, tag)
    print_summary(open_console(), session, proposals, Commands(again, peer), last=last)


def report(
    lab: shared.Lab = shared.DEFAULT_LAB,
    tag: shared.Tag = shared.DEFAULT_TAG,
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
    as_json: shared.Json = False,
) -> None:
    """The morning report, at most one page: kept, discarded, failed, effect, cost, best diff, what next."""
    from agent.report import report_lines, total_effect

    session, proposals = _load(lab, tag, agent, shared.client_security(token_file, ca, cert, key))
    diff = "" if agent else best_diff(Path(lab), tag)
    if as_json:
        effect = total_effect([proposal for proposal in proposals if proposal.number > 0])
        print_json(
            {
                "session": session_dict(session),
                "effect": None if effect is None else {"difference": effect[0], "error": effect[1]},
                "diff": diff,
                "lines": report_lines(session, proposals, diff),
            }
        )
        return
    for line in report_lines(session, proposals, diff):
        print_line(line)


def best_diff(lab: Path, tag: str) -> str:
    """The change from the lab's first commit to the best train.py; "" where git cannot tell."""
    branch = f"autoresearch/{tag}"
    git = git_command("-C", str(lab))
    try:
        root = subprocess.run(
            [*git, "rev-list", "--max-parents=0", branch],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout.split()[-1]
        return subprocess.run(
            [*git, "diff", *_PLAIN, root, branch, "--", SOURCE_NAME],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""


def _load(
    lab: str, tag: str, agent: str, security: ClientSecurity | None
) -> tuple[pb.Session, list[pb.Proposal]]:
    from agent.cli.lab_records import fetch_lab, read_lab

    if not agent:
        return read_lab(Path(lab).absolute(), tag)

    async def fetch() -> tuple[pb.Session, list[pb.Proposal]]:
        from agent.cli.lab_daemons import open_remote

        async with open_remote(agent, security) as link:
            return await fetch_lab(link.client, lab, tag)

    return asyncio.run(fetch())
