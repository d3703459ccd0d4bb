"""`autoresearch bench train` and `autoresearch simulate`: measurements that repeat."""

from __future__ import annotations

import typer

from agent.cli.child_command import run_module

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

bench = typer.Typer(help="Measure; results are appended to files and can be resumed.", no_args_is_help=True)


@bench.command("train", context_settings=_PASS_ON)
def bench_train(context: typer.Context) -> None:
    """Compare variants of train.py in interleaved pairs (`python -m trainer bench-train …`)."""
    raise typer.Exit(run_module("trainer", ["bench-train", *context.args]))


@bench.command("search", context_settings=_PASS_ON)
def bench_search(context: typer.Context) -> None:
    """Compare search, search with a simulated model beside it, and random search, on recorded results."""
    raise typer.Exit(run_module("agent.search.bench", list(context.args)))


def simulate(context: typer.Context) -> None:
    """Run the judge over simulated sessions beside other rules: --sessions, --proposals, --seed, --json."""
    raise typer.Exit(run_module("agent.judging.simulate", list(context.args)))


SIMULATE_SETTINGS = _PASS_ON
