"""The commands of `autoresearch`, one module each."""

from __future__ import annotations

import sys
from typing import Any

import typer

from agent.cli.bench import SIMULATE_SETTINGS, bench, simulate
from agent.cli.certs import certs
from agent.cli.console import print_error
from agent.cli.container import container
from agent.cli.doctor import doctor
from agent.cli.exit_codes import ExitCode
from agent.cli.history import history, report
from agent.cli.mcp import mcp
from agent.cli.run import run
from agent.cli.sample import sample
from agent.cli.tools import call, stop, tools
from agent.cli.train import prepare, train
from agent.cli.up import up

# The class that every complaint about the command line comes from; newer versions of typer carry a click of
# their own, so that click's own name for it would be another class.
UsageError: Any = typer.BadParameter.__bases__[0]

application = typer.Typer(
    name="autoresearch",
    help="A machine-learning research lab that works overnight: it changes train.py, trains, measures, and "
    "keeps what the measurements support. Begin with `autoresearch run`; `autoresearch doctor` says what is "
    "missing.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (run, history, report, sample, train, prepare, up, stop, tools, call, mcp, doctor, certs):
    application.command()(command)
application.command(hidden=True)(container)
application.command(context_settings=SIMULATE_SETTINGS)(simulate)
application.add_typer(bench, name="bench")


def run_application(arguments: list[str]) -> int:
    """Runs one command; its exit code. Wrong use is one line on stderr, a command without one its help."""
    try:
        code = application(args=arguments, prog_name="autoresearch", standalone_mode=False)
    except UsageError as error:
        text = error.format_message()
        if text.startswith("Usage:"):
            sys.stderr.write(text + "\n")
        else:
            context = error.ctx
            path = context.command_path if context is not None else "autoresearch"
            stop = "" if text.endswith((".", "?")) else "."
            print_error(f"{text}{stop} Try `{path} --help`")
        return ExitCode.USAGE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK
