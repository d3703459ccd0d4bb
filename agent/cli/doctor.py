"""`autoresearch doctor`: what is missing or wrong, one line each."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import options as shared
from agent.cli.console import one_line, open_console, print_json
from agent.cli.exit_codes import ExitCode
from agent.doctor.examination import Finding, Level, Surroundings, examine
from agent.launch.plan import DEFAULT_PORTS

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red"}


def doctor(
    lab: shared.LocalLab = shared.DEFAULT_LAB,
    data: shared.Data = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read all data and compare its hashes.")] = False,
    as_json: shared.Json = False,
) -> None:
    """Look at this machine, the lab and its data, and name what is missing or wrong.

    Exit codes: 0 nothing is wrong (warnings may be shown), 1 something is.
    """
    around = Surroundings(
        lab=Path(lab).absolute(),
        data=shared.data_folder(data, lab),
        environment=dict(os.environ),  # noqa: TID251 - the checks look at PATH and at names of keys
        now=time.time,
        ports=DEFAULT_PORTS,
        deep=deep,
    )
    findings = examine(around)
    broken = [finding for finding in findings if finding.level is Level.ERROR]
    if as_json:
        print_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    raise typer.Exit(ExitCode.FAILED if broken else ExitCode.OK)


def _show(findings: list[Finding]) -> None:
    console = open_console()
    for finding in findings:
        console.print(f"{finding.level.value:<8}", style=_STYLES[finding.level], end="")
        remedy = f" -> {one_line(finding.remedy)}" if finding.remedy else ""
        console.print(f"{finding.check:<10}{one_line(finding.message)}{remedy}", soft_wrap=True)
