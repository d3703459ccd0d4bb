"""Two hundred honest runs, of all honest candidates in turn with many seeds: none may be refused."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from services.trainer_client import TrainerClient
from tests.cheats.candidates import read_candidates
from tests.trainer.daemon_process import trainerd
from tests.trainer.serving import request, watch_to_end

COUNT = 200
FLAGS = ("--slots", "2", "--threads", "1", "--setup-limit-seconds", "300", "--queue-capacity", "500")


@pytest.mark.nightly
@pytest.mark.timeout(6 * 3600)
async def test_two_hundred_honest_runs_raise_no_alarm(tmp_path: Path, tiny_data: Path) -> None:
    refused = []
    async with trainerd(tmp_path, tiny_data, *FLAGS) as daemon:
        names = [await submit(daemon.client, number) for number in range(COUNT)]
        for name in names:
            last = (await watch_to_the_end(daemon.client, name)).state
            if last.state != pb.EXPERIMENT_STATE_SUCCEEDED:
                refused.append((name, last.result.failure_message))
    print(f"{COUNT - len(refused)} of {COUNT} honest runs were scored")
    assert refused == []


async def submit(client: TrainerClient, number: int) -> str:
    """Starts the next candidate of the corpus with a seed of its own; its id."""
    candidates = read_candidates("honest")
    candidate = next(itertools.islice(itertools.cycle(candidates), number, None))
    name = f"{number}-{candidate.name}"
    wanted = request(name, candidate.source({}), seed=1_000 + number, preset="tiny")
    if "budget" in candidate.head:
        kind, amount = candidate.head["budget"].split()
        wanted.budget.kind = pb.BudgetKind.Value(f"BUDGET_KIND_{kind.upper()}")
        wanted.budget.amount = float(amount)
    await client.start(wanted)
    return name


async def watch_to_the_end(client: TrainerClient, name: str) -> pb.WatchExperimentResponse:
    """The last event, however long it takes."""
    while not (experiment := await client.get(name)).HasField("end_time"):
        await asyncio.sleep(1.0)
    return (await watch_to_end(client, name, after=experiment.last_sequence - 1))[-1]
