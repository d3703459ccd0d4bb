"""`autoresearch train` and `autoresearch prepare`: the trainer's verbs, run as processes of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli import options as shared
from agent.cli.child_command import run_module
from agent.cli.console import print_note
from agent.cli.lab_records import lab_preset
from agent.cli.same_command import command
from services.errors import ConfigurationError

SOURCE_NAME = "train.py"


def train(
    lab: shared.LocalLab = shared.DEFAULT_LAB,
    data: shared.Data = None,
    preset: shared.Preset = "",
    time_budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1.0, help="Seconds of training, instead of the preset's budget."),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens to train on, instead of the preset's budget.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Default: drawn from --entropy or the system.")
    ] = None,
    entropy: Annotated[str, typer.Option(metavar="HOST:PORT", help="entropyd that draws the seed.")] = "",
    as_json: shared.Json = False,
) -> None:
    """Train the lab's train.py once and score it. Data is prepared if missing.

    Without a lab the template is trained. Prints the ancestors' summary; with --json the last line is one
    object. Nothing is kept or judged: that is `run`. Exit codes: 0 scored, 1 the run failed, 2 a wrong flag.
    """
    if time_budget is not None and tokens is not None:
        raise ConfigurationError("--time-budget and --tokens exclude each other: give one")
    arguments = ["train", "--data", str(shared.data_folder(data, lab))]
    source = Path(lab) / SOURCE_NAME
    if source.is_file():
        arguments += ["--source", str(source)]
        preset = preset or lab_preset(Path(lab))
    elif Path(lab).exists() and not _may_become_a_lab(Path(lab)):
        raise ConfigurationError(
            f"--lab: {lab} has no {SOURCE_NAME}; name a lab or a folder that does not exist"
        )
    else:
        print_note(f"no lab at {lab} yet: training the template (`{command('run', lab)}` makes the lab)")
    for flag, value in (
        ("--preset", preset),
        ("--time-budget", time_budget),
        ("--tokens", tokens),
        ("--seed", seed),
        ("--entropy", shared.checked_address(entropy, "--entropy")),
    ):
        if value not in (None, ""):
            arguments += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    raise typer.Exit(run_module("trainer", arguments + (["--json"] if as_json else [])))


def _may_become_a_lab(lab: Path) -> bool:
    return lab.is_dir() and (not any(lab.iterdir()) or (lab / ".autoresearch").is_dir())


def prepare(
    source: Annotated[
        str,
        typer.Option(help="climbmix, python, or files:PATH (txt, jsonl, parquet); default: the preset's."),
    ] = "",
    data: shared.Data = None,
    preset: shared.Preset = "",
    vocab_size: Annotated[
        int | None, typer.Option(min=300, help="Tokenizer entries, specials included.")
    ] = None,
    num_shards: Annotated[int | None, typer.Option(min=1, help="Shards to download (climbmix).")] = None,
    download_workers: Annotated[int | None, typer.Option(min=1, help="Downloads at once (climbmix).")] = None,
    as_json: shared.Json = False,
) -> None:
    """Make a data set and its tokenizer. Does nothing twice; an interrupted one goes on where it was.

    Exit codes: 0 ready, 1 it could not be made (the reason is on stderr), 2 a wrong flag.
    """
    arguments = ["prepare", "--data", str(data or shared.DEFAULT_DATA)]
    for flag, value in (
        ("--source", source),
        ("--preset", preset),
        ("--vocab-size", vocab_size),
        ("--num-shards", num_shards),
        ("--download-workers", download_workers),
    ):
        if value not in (None, ""):
            arguments += [flag, str(value)]
    raise typer.Exit(run_module("trainer", arguments + (["--json"] if as_json else [])))
