"""`run --agent`: the same command as a client of a daemon that somebody else runs."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from autoresearch.agent.v1 import agent_pb2 as pb

from services import errors
from services.security import ServerSecurity
from tests.agent.cli.command import run_command, start_command
from tests.agent.cli.scripted_agentd import ScriptedAgent, serve_agent


async def test_a_session_is_followed_to_its_end_and_summed_up() -> None:
    agent = ScriptedAgent()
    async with serve_agent(agent) as address:
        result = await run_command("run", "--agent", address, "--lab", "/far/lab", "--tag", "nov28")
    assert (result.code, result.err) == (0, "")
    text = result.out
    assert "measuring the noise floor" in text
    assert "seeds from the operating system" in text
    assert "#0 run 1 (baseline)  val_bpb 2.001000  11.0 s" in result.lines
    assert "#1 run 2 (incumbent, same seed)  val_bpb 2.000000  12.0 s" in result.lines
    assert text.count("#1 keep") == 1
    assert "Noise floor: a paired difference varies by 0.0120 bits per byte" in text
    assert "#1 bbbbbbb DEPTH 4 -> 5[31m: -0.1000 ± 0.0100; better by 4.0 sigma" in text
    assert f"Go on: autoresearch run --lab /far/lab --tag nov28 --agent {address}" in text
    assert "\x1b" not in text, "no colour and no escape sequence of others where there is no terminal"
    request = agent.requests[0]
    assert (request.lab, request.tag, request.additional_experiments) == ("/far/lab", "nov28", 6)


async def test_every_flag_reaches_the_request(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with serve_agent(agent) as address:
        flags = (
            "--provider openai --model m --base-url http://127.0.0.1:1/v1 --max-experiments 9 --preset cpu"
        )
        limits = (
            "--max-cost-usd 1.5 --max-tokens 1000 --max-hours 2 --max-device-seconds 60 --time-budget 2.5"
        )
        result = await run_command("run", "--agent", address, *flags.split(), *limits.split(), "--unsafe")
    assert result.code == 0
    request = agent.requests[0]
    assert (request.provider, request.model, request.base_url) == ("openai", "m", "http://127.0.0.1:1/v1")
    assert (request.max_experiments, request.preset, request.unsafe) == (9, "cpu", True)
    assert not request.HasField("additional_experiments")
    assert request.time_budget.ToMilliseconds() == 2500
    limits_sent = request.limits
    assert (limits_sent.max_cost_usd, limits_sent.max_tokens, limits_sent.max_hours) == (1.5, 1000, 2.0)
    assert limits_sent.max_device_seconds == 60.0


async def test_json_is_one_object_a_line_and_ends_with_the_summary() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        result = await run_command("run", "--agent", address, "--json")
    entries = [json.loads(line) for line in result.lines]
    assert [entry["type"] for entry in entries] == [
        "session", "session", "message", "proposal", "proposal", "progress", "session", "summary",
    ]  # fmt: skip
    summary = entries[-1]
    assert summary["session"]["stop_reason"] == "experiment_limit"
    assert summary["session"]["noise_sigma"] == 0.012
    assert summary["interrupted"] is False
    assert [proposal["verdict"] for proposal in summary["proposals"]] == ["baseline", "keep"]
    assert summary["proposals"][1]["runs"][0]["seed"] == 2**63


async def test_a_cut_stream_shows_every_event_once() -> None:
    async with serve_agent(ScriptedAgent(broken_streams=1)) as address:
        result = await run_command("run", "--agent", address)
    assert result.code == 0
    assert result.out.count("seeds from the operating system") == 1
    assert result.out.count("#1 keep") == 1


async def test_a_failed_session_has_its_own_exit_code() -> None:
    async with serve_agent(ScriptedAgent(stop_reason=pb.STOP_REASON_BASELINE_FAILED)) as address:
        result = await run_command("run", "--agent", address)
    assert result.code == 1
    assert "the baseline cannot be trained" in result.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.FailedPreconditionError("the lab is locked", reason="LAB_LOCKED"), 3),
        (errors.FailedPreconditionError("set ANTHROPIC_API_KEY", reason="NO_KEY"), 5),
        (errors.FailedPreconditionError("give --max-cost-usd", reason="CAP_REQUIRED"), 5),
        (errors.InvalidArgumentError("provider: 'x' is unknown", reason="UNKNOWN_PROVIDER"), 2),
        (errors.ResourceExhaustedError("the disk is full", reason="STORE_FULL"), 6),
        (errors.InternalError("secret detail"), 70),
    ],
    ids=lambda value: value.reason if isinstance(value, errors.ServiceError) else str(value),
)
async def test_a_refusal_is_one_line_and_a_documented_exit_code(
    error: errors.ServiceError, code: int
) -> None:
    async with serve_agent(ScriptedAgent(refusal=error)) as address:
        result = await run_command("run", "--agent", address)
    assert (result.code, result.out) == (code, "")
    assert result.err == f"error: {error.message}\n"


async def test_ctrl_c_detaches_and_the_session_goes_on() -> None:
    agent = ScriptedAgent(endless=True)
    async with serve_agent(agent) as address:
        process = await start_command("run", "--agent", address, "--lab", "/far/lab", "--json")
        assert process.stdout is not None
        while b'"keep"' not in await asyncio.wait_for(process.stdout.readline(), 30):
            pass
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 130
        assert b"detached; the session goes on" in err
        assert not agent.stopped.is_set()
    summary = json.loads(out.splitlines()[-1])
    assert summary["session"]["state"] == "measuring_noise", "as the stream told it last"


async def test_stop_ends_the_session() -> None:
    agent = ScriptedAgent(endless=True)
    async with serve_agent(agent) as address:
        result = await run_command("stop", "--agent", address, "--lab", "/lab")
        other = await run_command("stop", "--agent", address, "--lab", "/lab", "--tag", "other")
    assert (result.code, result.out) == (0, "stopped: on request\n")
    assert agent.stopped.is_set()
    assert (other.code, other.err) == (3, "error: no session 'other' of the lab /lab is known\n")


async def test_an_agent_that_does_not_answer_is_named() -> None:
    result = await run_command("run", "--agent", "127.0.0.1:1")
    assert result.code == 4
    assert result.err.startswith("error: --agent: no agentd answers at 127.0.0.1:1 within 5 s")
    assert len(result.err.splitlines()) == 1


async def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "right").write_text("a" * 32)
    (tmp_path / "wrong").write_text("b" * 32)
    async with serve_agent(ScriptedAgent(), ServerSecurity(token="a" * 32)) as address:
        wrong = await run_command("run", "--agent", address, "--token-file", str(tmp_path / "wrong"))
        none = await run_command("run", "--agent", address)
        right = await run_command("run", "--agent", address, AUTORESEARCH_TOKEN_FILE=str(tmp_path / "right"))
    assert none.code == 5
    assert "--token-file FILE names it" in none.err
    assert (wrong.code, right.code) == (5, 0)
    assert "b" * 32 not in wrong.err


async def test_peers_cannot_be_given_to_a_running_agent() -> None:
    result = await run_command("run", "--agent", "127.0.0.1:1", "--trainer", "127.0.0.1:2")
    assert result.code == 2
    assert "--trainer" in result.err
