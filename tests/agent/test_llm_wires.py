"""A whole session by a language model: the real SDK of each provider against a local server of its API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.hybrid_proposer import HybridProposer
from agent.ledger.records import StopReason
from agent.llm.prices import read_prices
from agent.provider import Usage
from agent.session.session import Peers
from agent.session.sessions import Sessions
from agent.session.start_options import StartOptions
from agent.settings import ProviderKeys
from agent.verdict import Verdict
from services.trainer_client import TrainerClient
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE, run_to_end
from tests.contract.provider_wires import WIRES, Call, Scene, Wire, serve

KEY = "sk-canary-0123456789abcdef"
MODELS = {"anthropic": "claude-sonnet-4-20250514", "openai": "gpt-4o", "gemini": "gemini-2.0-flash"}


@dataclass
class PlayingWire(Wire):
    """Plays its scenes in order, the last one again and again."""

    scenes: list[Scene] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.scene = self.scenes[min(len(self.requests), len(self.scenes) - 1)]
        return await super().answer(request)


def experiment(changes: dict[str, Any], description: str, **fields: Any) -> Scene:
    calls = (
        Call("set_hyperparams", json.dumps({"changes": changes}), "id-1"),
        Call("run_experiment", json.dumps({"description": description}), "id-2"),
    )
    return Scene(text="I have an idea.", calls=calls, end="tool_calls", **fields)


def playing(name: str) -> PlayingWire:
    plain = WIRES[name]()
    return PlayingWire(**{item.name: getattr(plain, item.name) for item in fields(plain)})


@pytest.fixture(params=sorted(WIRES))
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[PlayingWire]:
    async with serve(playing(request.param)) as made:
        assert isinstance(made, PlayingWire)
        yield made


async def test_a_model_behind_its_real_sdk_runs_experiments_and_its_cost_is_the_providers(
    wire: PlayingWire, shared_trainer: str, lab: Path
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    wire.scenes = [
        Scene(calls=(Call("get_config", "{}"),), end="tool_calls", input_tokens=2000, output_tokens=50),
        experiment(MUCH_WORSE, "slower", input_tokens=2500, cached_tokens=1500, output_tokens=80),
        Scene(status=429, error_message="slow down", headers={"retry-after": "3"}),
        experiment(MUCH_BETTER, "better", input_tokens=3000, cached_tokens=2000, output_tokens=90),
    ]
    async with TrainerClient(shared_trainer) as client:
        peers = Peers(client, None, None, replicates=3, sleep=sleep)
        sessions = Sessions(peers, ProviderKeys({wire.name: KEY}), address=lambda: "")
        options = StartOptions(
            lab=lab,
            provider=wire.name,
            model=MODELS[wire.name],
            base_url=wire.url,
            max_experiments=2,
            max_cost_usd=5.0,
        )
        session = await run_to_end(sessions, options)
        assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
        proposals = session.ledger.proposals.all(session.session_id)[1:]
        assert [item.verdict for item in proposals] == [Verdict.DISCARD, Verdict.KEEP]
        assert 3.0 in waits, "the server's own hint"
        price = read_prices().find(MODELS[wire.name])
        assert price is not None
        used = Usage(2000, 0, 0, 50).plus(Usage(2500, 1500, 0, 80)).plus(Usage(3000, 2000, 0, 90))
        assert session.ledger.totals(session.session_id).cost_usd == pytest.approx(price.cost(used), rel=0.02)
        assert proposals[0].cost_usd + proposals[1].cost_usd == pytest.approx(price.cost(used), rel=0.02)
        told = json.dumps(wire.requests[-1])
        assert "DISCARD" in told, "the verdict came back as the answer of the call"
        await sessions.close()
    assert KEY.encode() not in (lab / ".autoresearch" / "ledger.db").read_bytes()
    assert KEY not in told


async def test_hybrid_shares_the_slots_and_a_server_of_ones_own_needs_no_key(
    shared_trainer: str, lab: Path
) -> None:
    wire = playing("openai")
    wire.scenes = [experiment({"MATRIX_LR": 0.0001 * (n + 1)}, f"model's idea {n}") for n in range(40)]
    async with serve(wire), TrainerClient(shared_trainer) as client:
        sessions = Sessions(Peers(client, None, None, replicates=3), ProviderKeys(), address=lambda: "")
        options = StartOptions(
            lab=lab, provider="hybrid", model="local-model", base_url=wire.url, max_experiments=6
        )
        session = await run_to_end(sessions, options)
        assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
        assert isinstance(session.proposer, HybridProposer)
        for proposal in session.ledger.proposals.all(session.session_id)[1:]:
            by_model = proposal.description.startswith("model's idea")
            assert by_model == session.proposer.asks_model(proposal.number)
        assert session.ledger.totals(session.session_id).cost_usd == 0.0
        await sessions.close()
