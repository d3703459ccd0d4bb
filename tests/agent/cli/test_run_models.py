"""A whole session whose ideas come from a language model's API, served here; scores are invented."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.agent.cli.command import run_command
from tests.contract.provider_wires import WIRES, Call, Scene, Wire, serve

KEY = "sk-canary-0123456789abcdef"
KEY_NAMES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
MODELS = {"anthropic": "claude-sonnet-4-x", "openai": "gpt-4o-x", "gemini": "gemini-2.0-flash-x"}


class Researcher:
    """Plays a model: changes a learning rate, asks for the experiment, and begins again."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ideas = 0
        self.headers: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(str(sorted(request.headers.items())))
        last = json.dumps(self._last(await request.json()))
        if re.search(r"tool_result|functionResponse|\"role\": \"tool\"", last) and "MATRIX_LR" in last:
            call = Call(
                "run_experiment", json.dumps({"description": f"idea {self.ideas}"}), f"run-{self.ideas}"
            )
        else:
            self.ideas += 1
            changes = {"MATRIX_LR": round(0.0213 + 0.003 * self.ideas, 4)}
            call = Call("set_hyperparams", json.dumps({"changes": changes}), f"set-{self.ideas}")
        self.wire.scene = Scene(
            text="Next.", calls=(call,), end="tool_calls", input_tokens=1000, output_tokens=50
        )
        return await Wire.answer(self.wire, request)

    @staticmethod
    def _last(body: dict[str, Any]) -> Any:
        return (body.get("messages") or body["contents"])[-1]


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(WIRES))
async def test_a_session_by_a_language_model(tmp_path: Path, name: str) -> None:
    wire = WIRES[name]()
    researcher = Researcher(wire)
    wire.answer = researcher.answer  # type: ignore[method-assign]
    async with serve(wire):
        flags = (
            "--lab", str(tmp_path / "lab"), "--data", str(tmp_path / "data"), "--executor", "scripted",
            "--provider", name, "--model", MODELS[name], "--base-url", wire.url, "--max-experiments", "2",
            "--max-cost-usd", "1", "--memory", "none", "--json",
        )  # fmt: skip
        environment: Any = {KEY_NAMES[name]: KEY}
        result = await run_command("run", *flags, timeout=110, **environment)
    assert result.code == 0, result.err
    summary = json.loads(result.lines[-1])
    session = summary["session"]
    assert (session["stop_reason"], session["proposal_count"]) == ("experiment_limit", 2)
    assert [proposal["description"] for proposal in summary["proposals"][1:]] == ["idea 1", "idea 2"]
    assert session["input_tokens"] >= 4000
    assert session["cost_usd"] > 0
    assert any(KEY in headers for headers in researcher.headers), "the model was asked with the key"
    written = [path for path in (tmp_path / "lab").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not any(KEY.encode() in path.read_bytes() for path in written), "and the key is nowhere else"
    assert KEY not in result.out + result.err


@pytest.mark.long
async def test_a_wrong_key_ends_the_session_by_name(tmp_path: Path) -> None:
    wire = WIRES["anthropic"]()
    wire.scene = Scene(status=401, error_code="authentication_error", error_message="invalid x-api-key")
    async with serve(wire):
        flags = (
            "--lab", str(tmp_path / "lab"), "--data", str(tmp_path / "data"), "--executor", "scripted",
            "--provider", "anthropic", "--model", MODELS["anthropic"], "--base-url", wire.url,
            "--max-cost-usd", "1", "--memory", "none", "--max-experiments", "1",
        )  # fmt: skip
        result = await run_command("run", *flags, timeout=110, ANTHROPIC_API_KEY=KEY)
    assert result.code == 1
    assert "provider failed" in result.out
    assert KEY not in result.out + result.err


@pytest.mark.long
async def test_a_provider_without_a_key_says_which_one(tmp_path: Path) -> None:
    result = await run_command(
        "run", "--lab", str(tmp_path / "lab"), "--provider", "anthropic", "--memory", "none"
    )
    assert result.code == 5
    assert "ANTHROPIC_API_KEY" in result.err
    assert len(result.err.splitlines()) == 1
