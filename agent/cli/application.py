"""The commands of `autoresearch`, one module each."""

from __future__ import annotations

import typer

from agent.cli.bench import SIMULATE_SETTINGS, bench, simulate
from agent.cli.certs import certs
from agent.cli.container import container
from agent.cli.doctor import doctor
from agent.cli.history import history, report
from agent.cli.mcp import mcp
from agent.cli.run import run
from agent.cli.sample import sample
from agent.cli.tools import call, stop, tools
from agent.cli.train import prepare, train
from agent.cli.up import up

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
