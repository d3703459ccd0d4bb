"""The tool loop of a language model, played by a script, in a session with a real trainer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.ledger.records import StopReason
from agent.llm.proposer import LlmProposer
from agent.llm.scripted_provider import ScriptedProvider
from agent.session.session import Session
from agent.session.sessions import Sessions
from agent.verdict import Verdict
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE, run_to_end, scripted


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def turn(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"calls": list(calls), **fields}


def experiment(changes: dict[str, Any], description: str) -> dict[str, Any]:
    """Both calls in one turn, as models that call in parallel do."""
    return turn(call("set_hyperparams", changes=changes), call("run_experiment", description=description))


def model_of(session: Session) -> ScriptedProvider:
    assert isinstance(session.proposer, LlmProposer)
    provider = session.proposer._model.provider
    assert isinstance(provider, ScriptedProvider)
    return provider


def answers(session: Session) -> list[Any]:
    """Every tool result that the model was shown, in the longest conversation."""
    longest = max(model_of(session).asked, key=lambda conversation: len(conversation.messages))
    return [
        (result.name, json.loads(result.text))
        for message in longest.messages
        for result in message.tool_results
    ]


async def test_a_model_learns_the_judges_verdict_and_cannot_keep_against_it(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(
        turn(call("get_config"), call("read_code", first_line=1)),
        experiment(MUCH_WORSE, "slower"),
        turn(call("keep")),
        experiment(MUCH_BETTER, "better"),
        turn(call("keep")),
        experiment({"DEPTH": 2}, "shallow"),
    )
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=3))
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
    verdicts = [item.verdict for item in session.ledger.proposals.all(session.session_id)]
    assert verdicts[:3] == [Verdict.BASELINE, Verdict.DISCARD, Verdict.KEEP]
    told = answers(session)
    assert [name for name, _ in told[:3]] == ["get_config", "read_code", "run_experiment"]
    results = [result for name, result in told if name == "run_experiment"]
    assert [result["verdict"] for result in results[:2]] == ["DISCARD", "KEEP"]
    keeps = [result for name, result in told if name == "keep"]
    assert "judge says DISCARD" in keeps[0]["message"]
    assert keeps[1]["kept"] is True


async def test_every_tool_answer_is_small_and_unknown_tools_are_answered(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    wrong = [
        turn(call("shell", command="rm -rf /")),
        turn({"name": "read_code", "raw": '{"first_line": 1'}),
        turn(call("read_code", first_line="one")),
        turn(call("set_hyperparams", changes={"NO_SUCH": 1})),
        turn(call("edit_code", section="model", code="def broken(:")),
        turn(call("read_code", first_line=1, last_line=700), call("get_history")),
    ]
    script = write_script(*wrong, experiment(MUCH_BETTER, "better"))
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    told = answers(session)
    assert [result.get("error") for _, result in told[:3]] == [
        "TOOL_NOT_FOUND",
        "INVALID_ARGUMENTS",
        "INVALID_ARGUMENTS",
    ]
    assert all("error" in result for _, result in told[3:5])
    for conversation in model_of(session).asked:
        for message in conversation.messages:
            assert all(len(result.text.encode()) <= 4096 for result in message.tool_results)
    assert session.ledger.totals(session.session_id).proposals == 1


async def test_a_silent_or_refusing_model_costs_one_slot_at_a_time(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(
        {"text": "I think we are done here."},
        {"text": "Really done."},
        {"text": "Bye."},
        {"text": "I cannot help with that.", "end": "refusal"},
        {"text": "No.", "end": "refusal"},
        {"text": "No.", "end": "refusal"},
        experiment(MUCH_BETTER, "better"),
    )
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=3))
    proposals = session.ledger.proposals.all(session.session_id)[1:]
    assert [item.verdict for item in proposals] == [Verdict.REFUSED, Verdict.REFUSED, Verdict.KEEP]
    assert [item.reason for item in proposals[:2]] == [
        "the model stopped without an experiment",
        "the model refused",
    ]


@pytest.fixture
def waits(sessions: Sessions) -> list[float]:
    """What the session would have slept, in seconds."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    object.__setattr__(sessions._peers, "sleep", sleep)
    return slept


async def test_provider_faults_are_retried_with_a_bound_and_then_stop_by_name(
    sessions: Sessions, lab: Path, write_script: Callable[..., str], waits: list[float]
) -> None:
    script = write_script(
        {"fault": "rate_limited", "retry_after": 7.0},
        {"fault": "unavailable"},
        experiment(MUCH_BETTER, "better"),
        {"fault": "unavailable"},
    )
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=5))
    assert 7.0 in waits
    events = session.ledger.events(session.session_id, 0)
    assert any("tried again in 7 s (attempt 1 of 5)" in str(event.payload.get("text")) for event in events)
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED
    assert "attempt 5 of 5" in session.record.stop_detail
    assert session.ledger.totals(session.session_id).proposals == 1


async def test_a_rate_limit_without_a_hint_is_waited_for_by_minutes(
    sessions: Sessions, lab: Path, write_script: Callable[..., str], waits: list[float]
) -> None:
    script = write_script(experiment(MUCH_BETTER, "better"), {"fault": "rate_limited"})
    session = await run_to_end(sessions, scripted(lab, script))
    assert [wait for wait in waits if wait >= 15] == [15.0, 30.0, 60.0, 120.0]
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED


@pytest.mark.parametrize("fault", ["bad_key", "quota"])
async def test_a_refused_key_stops_the_session_at_once(
    sessions: Sessions, lab: Path, write_script: Callable[..., str], fault: str
) -> None:
    session = await run_to_end(sessions, scripted(lab, write_script({"fault": fault}, {"text": "x"})))
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED
    assert len(model_of(session).asked) == 1


async def test_a_cap_is_never_passed_by_more_than_one_call(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    looks = [
        turn(call("read_code", first_line=n), input_tokens=1000, output_tokens=100) for n in range(1, 20)
    ]
    session = await run_to_end(
        sessions, scripted(lab, write_script(*looks), model="gpt-4o", max_cost_usd=0.01)
    )
    assert session.record.stop_reason is StopReason.COST_LIMIT, session.record.stop_detail
    each = (1000 * 2.5 + 100 * 10) / 1e6
    totals = session.ledger.totals(session.session_id)
    assert totals.cost_usd == pytest.approx(each * len(model_of(session).asked), rel=1e-9)
    assert 0.01 <= totals.cost_usd < 0.01 + each


async def test_a_conversation_is_begun_anew_between_experiments_and_nothing_is_repeated(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    def many() -> Iterator[dict[str, Any]]:
        for n in range(11):
            yield experiment({"MATRIX_LR": round(0.0002 * (n + 1), 5)}, f"slow {n};")

    session_options = scripted(lab, write_script(*many()), max_experiments=11)
    start = sessions.start

    async def start_small(options: Any) -> tuple[Session, bool]:
        session, resumed = await start(options)
        assert isinstance(session.proposer, LlmProposer)
        session.proposer._token_budget = 10  # every idea begins a new conversation
        return session, resumed

    sessions.start = start_small  # type: ignore[method-assign]
    session = await run_to_end(sessions, session_options)
    assert isinstance(session.proposer, LlmProposer)
    assert session.proposer.resets >= 10
    proposals = session.ledger.proposals.all(session.session_id)[1:]
    assert len({item.source_hash for item in proposals}) == 11
    for conversation in model_of(session).asked:
        for before, after in zip(conversation.messages, conversation.messages[1:], strict=False):
            assert bool(before.tool_calls) == bool(after.tool_results)
    last = model_of(session).asked[-1].messages[0].text
    assert "slow 0;" in last
    assert "slow 9;" in last


async def test_context_overflow_begins_anew_and_keeps_the_draft(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(
        turn(call("set_hyperparams", changes=MUCH_BETTER)),
        {"fault": "overflow"},
        turn(call("run_experiment", description="better")),
    )
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    assert session.ledger.proposals.all(session.session_id)[1].verdict is Verdict.KEEP
