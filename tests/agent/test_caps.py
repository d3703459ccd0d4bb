"""A session that a cap on money or tokens has paused goes on where it was, over real daemons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from autoresearch.agent.v1 import agent_pb2 as pb

from services.agent_client import AgentClient
from services.trainer_client import TrainerClient
from tests.agent.daemons import Child, agentd, trainerd
from tests.agent.test_llm import call, experiment, turn

TOKENS = (1000, 100)
USD = (1000 * 2.5 + 100 * 10) / 1e6  # of one call, by the price list


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[tuple[Child, Child]]:
    trainer = await trainerd(tmp_path / "daemons").start()
    agent = await agentd(tmp_path / "daemons", trainer.grpc, flags=("--replicates", "3")).start()
    yield agent, trainer
    await agent.kill()
    await trainer.kill()


def priced(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1]}


async def run(agent: Child, request: pb.StartSessionRequest) -> tuple[pb.Session, list[pb.Proposal], bool]:
    """The session at its stop, its proposals, and whether it had existed before."""
    async with AgentClient(agent.grpc) as client, asyncio.timeout(90):
        started = await client.start_session(request)
        session_id = started.session.session_id
        async for _ in client.watch_session(session_id, after_sequence=started.session.last_sequence):
            pass
        proposals = (await client.list_proposals(session_id, page_size=100)).proposals
        return await client.get_session(session_id), list(proposals), started.resumed


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        (pb.Limits(max_cost_usd=3.5 * USD), pb.Limits(max_cost_usd=6.5 * USD), pb.STOP_REASON_COST_LIMIT),
        pytest.param(
            pb.Limits(max_tokens=int(3.5 * sum(TOKENS))),
            pb.Limits(max_tokens=int(6.5 * sum(TOKENS))),
            pb.STOP_REASON_TOKEN_LIMIT,
            marks=pytest.mark.long,
        ),
    ],
    ids=["dollars", "tokens"],
)
async def test_a_session_paused_by_a_cap_goes_on_under_a_higher_one(
    daemons: tuple[Child, Child],
    lab: Path,
    write_script: Callable[..., str],
    low: pb.Limits,
    high: pb.Limits,
    reason: pb.StopReason.ValueType,
) -> None:
    agent, trainer = daemons
    # The fourth call is the last that the low cap allows: it leaves an idea half made.
    first = [experiment({"MATRIX_LR": 0.0004 * (n + 1)}, f"first {n}") for n in range(3)]
    script = write_script(*map(priced, [*first, turn(call("get_config")), turn(call("get_history"))]))
    request = pb.StartSessionRequest(
        lab=str(lab), provider="scripted", model="gpt-4o", script=script, limits=low
    )
    paused, before, resumed = await run(agent, request)
    assert (paused.stop_reason, resumed) == (reason, False), paused.stop_detail
    assert paused.input_tokens == 4 * TOKENS[0], "no more than one call beyond the cap"
    assert paused.cost_usd == pytest.approx(4 * USD)
    assert [item.number for item in before] == [0, 1, 2, 3]

    again, unchanged, resumed = await run(agent, request)
    assert (again.stop_reason, resumed) == (reason, True), "the same cap allows no call at all"
    assert again.input_tokens == paused.input_tokens
    assert unchanged == before

    await agent.kill()
    await agent.start()
    second = [experiment({"MATRIX_LR": 0.0022 + 0.0004 * n}, f"second {n}") for n in range(9)]
    request = pb.StartSessionRequest(
        lab=str(lab),
        provider="scripted",
        model="gpt-4o",
        script=write_script(*map(priced, second)),
        limits=high,
    )
    ended, after, resumed = await run(agent, request)
    assert (ended.stop_reason, resumed) == (reason, True), ended.stop_detail
    assert ended.session_id == paused.session_id
    assert ended.input_tokens == 7 * TOKENS[0]
    assert ended.cost_usd == pytest.approx(7 * USD)
    assert after[:4] == before
    assert [item.description for item in after[4:]] == ["second 0", "second 1", "second 2"]
    async with TrainerClient(trainer.grpc) as client:
        made = (await client.list_experiments(page_size=500)).experiments
    known = {item.experiment_id for proposal in after for item in proposal.runs}
    assert {item.experiment_id for item in made} == known, "nothing was run twice, or for nothing"
