"""`autoresearch sample`: text from the best model so far."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.cli import options as shared
from agent.cli.console import print_json, print_line
from agent.cli.same_command import command
from services.errors import NotFoundError


def sample(
    prompt: Annotated[str, typer.Argument(help="Text to go on from.")] = "",
    lab: shared.LocalLab = shared.DEFAULT_LAB,
    data: shared.Data = None,
    max_tokens: Annotated[int, typer.Option(min=1, max=2048, help="Length of the text.")] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token each time.")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same text.")] = 0,
    trainer: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="trainerd that trained it, if not the lab's own.")
    ] = "",
    as_json: shared.Json = False,
) -> None:
    """Print text that the champion of the lab (its folder best/) writes. Runs in the trainer's sandbox."""
    folder = Path(lab).absolute()
    request = pb.SampleTextRequest(
        experiment_id=champion(folder),
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    address = shared.checked_address(trainer, "--trainer")
    text = asyncio.run(_draw(folder, shared.data_folder(data, lab), address, request))
    if as_json:
        print_json({"experiment_id": request.experiment_id, "prompt": prompt, "text": text})
    else:
        print_line(f"{prompt}{text}" if not text.startswith(prompt) else text)


def champion(lab: Path) -> str:
    """The experiment of the best model. Raises NotFoundError where nothing was trained yet."""
    card = lab / "best" / "champion.json"
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["experiment_id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFoundError(
            f"--lab: {lab} has no best model yet; `{command('run', lab)}` trains one",
            reason="CHAMPION_NOT_FOUND",
        ) from error


async def _draw(lab: Path, data: Path, address: str, request: pb.SampleTextRequest) -> str:
    from agent.cli.interrupts import Interrupted, catch_interrupts, unless_interrupted
    from agent.cli.lab_daemons import open_trainer
    from services.errors import CanceledError

    async def work() -> str:
        async with open_trainer(lab, data, address) as client:
            return await client.sample(request)

    with catch_interrupts() as asked:
        try:
            return await unless_interrupted(work(), asked)
        except Interrupted:
            raise CanceledError("interrupted") from None
