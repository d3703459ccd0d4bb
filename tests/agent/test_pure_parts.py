"""The agent's functions of values: limits, prices, observatory, seeds, results, answers, simplicity."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.grpc_api import read_page_token
from agent.hybrid_proposer import HybridProposer, describe_trials
from agent.judging.observatory import void_reason
from agent.judging.seed_plan import BLOCK_SIZE, RENEW_AFTER, block_of_next, seed_index
from agent.judging.simplicity import is_simpler
from agent.lab.results_table import read_results, result_row, write_results
from agent.ledger.records import (
    ProposalRecord,
    ProposalState,
    RunKind,
    RunRecord,
    SessionRecord,
    SessionState,
    SessionTotals,
    Setup,
    StopReason,
)
from agent.llm.prices import Price, PriceList, read_prices
from agent.proposers import check_price, choose
from agent.provider import Usage
from agent.scripted_proposer import ScriptedProposer
from agent.session.drafting import as_trial
from agent.session.limits import LimitReached, check_before_proposal, check_money, forecast, forecast_text
from agent.session.start_options import StartOptions, with_model
from agent.settings import ProviderKeys, read_keys
from agent.tools.answer import LARGEST, answer, json_size, page, shorten
from agent.tools.toolbox import TOOLS
from agent.verdict import Verdict
from services.errors import ConfigurationError, FailedPreconditionError, InvalidArgumentError

SETUP = Setup("cpu", "time", 300.0, device_class="h100", attention="flex")
SESSION = SessionRecord("s", "lab", SessionState.PROPOSING, "search", "", SETUP, 0, 0)
RUN = RunRecord("e", "s", 1, RunKind.INCUMBENT, 0, 0, 1, 0, "h", 0, True, 1.5, device_class="h100")


def proposal(number: int, verdict: Verdict = Verdict.DISCARD, **fields: object) -> ProposalRecord:
    made = ProposalRecord(
        "s", number, "idea", ProposalState.RECORDED, "h", "parent00", "ph", "d", 0, verdict=verdict
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["x", "-1", "9" * 30])
def test_a_page_token_of_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="was not given out here"):
        read_page_token(token)


@pytest.mark.parametrize(
    ("before", "now", "given", "expected"),
    [
        ("anthropic", "anthropic", "", "m"),
        ("anthropic", "openai", "", ""),
        ("anthropic", "openai", "n", "n"),
        ("anthropic", "manual", "", "m"),
        ("search", "anthropic", "", "m"),
    ],
)
def test_a_models_name_is_not_handed_to_another_provider(
    before: str, now: str, given: str, expected: str
) -> None:
    known = replace(SESSION, provider=before, model="m")
    assert with_model(known, StartOptions(Path("/lab"), provider=now, model=given)) == expected


@pytest.mark.parametrize(
    ("session", "totals", "reason"),
    [
        ({"max_experiments": 3}, SessionTotals(proposals=3), StopReason.EXPERIMENT_LIMIT),
        ({"max_hours": 1.0, "active_seconds": 3600.0}, SessionTotals(), StopReason.TIME_LIMIT),
        ({"max_device_seconds": 10.0}, SessionTotals(device_seconds=10.0), StopReason.DEVICE_LIMIT),
        ({"max_cost_usd": 1.0}, SessionTotals(cost_usd=1.0), StopReason.COST_LIMIT),
        ({"max_tokens": 10}, SessionTotals(input_tokens=9, output_tokens=1), StopReason.TOKEN_LIMIT),
    ],
)
def test_every_cap_stops_by_its_name(
    session: dict[str, object], totals: SessionTotals, reason: StopReason
) -> None:
    capped = replace(SESSION, **session)  # type: ignore[arg-type]
    with pytest.raises(LimitReached) as caught:
        check_before_proposal(capped, totals)
    assert caught.value.reason is reason
    check_before_proposal(SESSION, totals)


def test_a_cap_of_zero_allows_no_call() -> None:
    with pytest.raises(LimitReached):
        check_money(replace(SESSION, max_cost_usd=0.0), SessionTotals())


def test_a_forecast_extrapolates_to_the_cap() -> None:
    made = forecast(
        replace(SESSION, max_experiments=10, active_seconds=3600.0), SessionTotals(proposals=4, cost_usd=2.0)
    )
    assert (made.cost_usd, made.hours) == (5.0, 2.5)
    assert forecast(SESSION, SessionTotals(proposals=4)).cost_usd is None
    capped = replace(SESSION, max_experiments=10, active_seconds=3600.0)
    told = forecast_text(capped, SessionTotals(proposals=4, cost_usd=2.0, device_seconds=1000.0))
    assert told == (
        "4 of 10 experiments; at this pace all take 2.5 h, 5.00 US dollars, 2,500 s of training device"
    )
    short = replace(capped, active_seconds=36.0)
    assert "all take 1.5 minutes, " in forecast_text(short, SessionTotals(proposals=4, device_seconds=30.0))
    measured_once = SessionTotals(proposals=1, device_seconds=500.0, baseline_seconds=300.0)
    later = forecast(replace(SESSION, max_experiments=6, active_seconds=600.0), measured_once)
    assert later.device_seconds == pytest.approx(300 + 6 * 200)
    assert later.hours == pytest.approx((360 + 6 * 240) / 3600)
    assert forecast_text(capped, SessionTotals(proposals=10)) == ""
    assert forecast_text(SESSION, SessionTotals(proposals=4)) == ""


def test_prices_are_found_by_the_longest_name_and_unknown_ones_refuse_a_cap(tmp_path: Path) -> None:
    prices = read_prices()
    small, large = prices.find("gpt-4o-mini-2024-07-18"), prices.find("openai/gpt-4o")
    assert small is not None
    assert large is not None
    assert small.output < large.output
    assert prices.find("my-local-model") is None
    check_price(None, "my-local-model", None, prices.date)
    with pytest.raises(FailedPreconditionError) as caught:
        check_price(None, "my-local-model", 1.0, prices.date)
    assert caught.value.reason == "CAP_REQUIRED"
    assert prices.date in caught.value.message
    own = tmp_path / "prices.toml"
    own.write_text('date = "2030-01-01"\n[models]\n"my-local" = {input = 1.0, output = 2.0}\n')
    found = read_prices(own).find("my-local-model")
    assert found == Price(1.0, 1.0, 1.0, 2.0)
    assert found.cost(Usage(1_000_000, 0, 0, 500_000)) == 2.0
    own.write_text("date = 1\n[models]\nx = 3\n")
    with pytest.raises(ConfigurationError):
        read_prices(own)


def test_auto_is_a_model_only_with_a_key_and_a_cap() -> None:
    keys = ProviderKeys({"openai": "k"})
    assert choose("auto", ProviderKeys(), 1.0) == ("search", False, "")
    provider, _, note = choose("", keys, None)
    assert provider == "search"
    assert "--max-cost-usd" in note
    assert choose("auto", keys, 1.0)[0] == "openai"
    assert choose("hybrid", keys, None)[:2] == ("openai", True)
    assert choose("openai", ProviderKeys(), None, "http://localhost:11434/v1")[0] == "openai"
    with pytest.raises(FailedPreconditionError):
        choose("hybrid", ProviderKeys(), None)


def test_keys_come_from_environment_or_secret_files_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "gemini_api_key").write_text("from-file\n")
    keys = read_keys({"OPENAI_API_KEY": "from-environment", "ANTHROPIC_API_KEY": " "}, tmp_path)
    assert keys.providers == ["openai", "gemini"]
    assert keys.get("gemini") == "from-file"
    assert "from-" not in repr(keys)


@pytest.mark.parametrize(
    ("changes", "void"),
    [
        ({}, False),
        ({"failure_reason": "INTERRUPTED", "val_bpb": None}, True),
        ({"failure_reason": "OUT_OF_DEVICE_MEMORY", "val_bpb": None}, True),
        ({"failure_reason": "OUT_OF_DEVICE_MEMORY", "val_bpb": None, "kind": RunKind.CANDIDATE}, False),
        ({"failure_reason": "DEVICE_LOST", "val_bpb": None, "kind": RunKind.CANDIDATE}, True),
        ({"device_class": "cpu"}, True),
        ({"attention": "sdpa"}, True),
        ({"tokens_per_second": 80.0}, True),
        ({"tokens_per_second": 95.0}, False),
        ({"val_bpb": None}, True),
    ],
)
def test_what_the_machine_spoilt_is_void_and_what_the_candidate_did_is_a_result(
    changes: dict[str, object], void: bool
) -> None:
    run = replace(RUN, **changes)  # type: ignore[arg-type]
    earlier = [replace(RUN, tokens_per_second=100.0 + n) for n in range(3)]
    assert bool(void_reason(run, earlier, SETUP)) is void


def test_an_incumbent_that_fails_says_how() -> None:
    run = replace(RUN, val_bpb=None, failure_reason="CONTRACT_VIOLATION", failure_message="no rows.bin")
    assert void_reason(run, [], SETUP) == "the incumbent failed: CONTRACT_VIOLATION: no rows.bin"


def test_a_busy_machine_does_not_void_runs_under_a_token_budget() -> None:
    earlier = [replace(RUN, tokens_per_second=100.0) for _ in range(3)]
    setup = replace(SETUP, budget_kind="tokens")
    assert void_reason(replace(RUN, tokens_per_second=10.0), earlier, setup) == ""


def test_a_new_incumbent_gets_a_block_whose_first_seed_had_no_part_in_choosing_it() -> None:
    history = [proposal(0, Verdict.BASELINE), proposal(1), proposal(2, Verdict.REFUSED)]
    assert block_of_next(history) == 0
    kept = [*history, proposal(3, Verdict.KEEP)]
    assert block_of_next(kept) == 1
    used = {seed_index(0, position) for position in range(BLOCK_SIZE)}
    assert seed_index(1, 0) not in used
    with pytest.raises(ValueError, match="position"):
        seed_index(0, BLOCK_SIZE)


def test_after_long_use_every_seed_of_the_block_is_fresh() -> None:
    history = [proposal(0, Verdict.BASELINE), proposal(1, Verdict.KEEP)]
    history += [proposal(number) for number in range(2, 2 + RENEW_AFTER)]
    before, after = block_of_next(history[:-1]), block_of_next(history)
    used = {seed_index(block, place) for block in range(before + 1) for place in range(BLOCK_SIZE)}
    assert used.isdisjoint(seed_index(after, place) for place in range(BLOCK_SIZE))


@given(st.text(max_size=200), st.sampled_from(list(Verdict)))
def test_rows_survive_any_description(
    tmp_path_factory: pytest.TempPathFactory, text: str, v: Verdict
) -> None:
    path = tmp_path_factory.mktemp("results") / "results.tsv"
    item = proposal(1, v, description=text, reason="r\tr\n", val_bpb=1.25, memory_gb=0.44)
    write_results(path, [item, proposal(2, state=ProposalState.RUNNING)])
    assert read_results(path.read_text(encoding="utf-8")) == [
        replace(result_row(item), val_bpb=0.0 if v is Verdict.CRASH else 1.25, memory_gb=_memory(v))
    ]


def _memory(verdict: Verdict) -> float:
    return 0.0 if verdict is Verdict.CRASH else 0.4


def test_a_broken_results_file_is_refused_with_its_line() -> None:
    assert read_results("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n\n") == []
    with pytest.raises(InvalidArgumentError, match="line 2"):
        read_results("a\t1.0\t0.1\tkeep\tfine\nb\tx\t0.1\tkeep\tno number\n")


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=9000), max_size=5))
def test_answers_are_json_of_at_most_four_kibibytes(result: dict[str, str]) -> None:
    text = answer(result).text
    assert len(text.encode()) <= LARGEST
    json.loads(text)


@given(st.text(max_size=300), st.integers(min_value=20, max_value=200))
def test_shortened_text_fits(text: str, limit: int) -> None:
    assert json_size(shorten(text, limit)) <= limit


def test_a_page_holds_at_least_one_item() -> None:
    assert page(["x" * 9000, "y"], 100) == 1
    assert page(["x", "y", "z"], 100) == 3


def test_the_ten_tools_have_schemas_that_say_what_they_take() -> None:
    assert list(TOOLS) == [
        "get_config",
        "set_hyperparams",
        "edit_code",
        "run_experiment",
        "get_history",
        "keep",
        "discard",
        "read_code",
        "remember",
        "recall",
    ]
    for tool in TOOLS.values():
        assert tool.description
        assert tool.schema["type"] == "object"
        assert tool.schema["additionalProperties"] is False
    assert TOOLS["edit_code"].schema["required"] == ["section", "code"]


def test_less_code_is_simpler_and_fewer_comments_are_not() -> None:
    long = "def f(x):\n    '''Text.'''\n    y = x + 1  # one\n    return y * 2\n" * 20
    assert not is_simpler(long.replace("  # one", ""), long)
    assert not is_simpler(long.replace("'''Text.'''", "'''T.'''"), long)
    assert is_simpler(long[: len(long) // 2], long)
    assert not is_simpler("def (", long)


async def test_hybrid_gives_the_model_about_three_of_ten_slots_and_agrees_with_itself() -> None:
    hybrid = HybridProposer(ScriptedProposer([]), ScriptedProposer([]), key="s")
    again = HybridProposer(ScriptedProposer([]), ScriptedProposer([]), key="s")
    turns = [hybrid.asks_model(number) for number in range(1, 501)]
    assert turns == [again.asks_model(number) for number in range(1, 501)]
    assert 0.24 < sum(turns) / 500 < 0.36


def test_the_search_tells_the_model_what_it_knows() -> None:
    trials = [
        as_trial(proposal(1, changes={"DEPTH": 5}, difference=-0.01)),
        as_trial(proposal(2, changes={"DEPTH": 8}, difference=0.02)),
        as_trial(proposal(3, Verdict.CRASH, changes={"DEPTH": 99})),
    ]
    text = describe_trials(trials, 0.005)
    assert text == "DEPTH: 2 tried, best 5 (-2.0 sigma), worst 8 (+4.0 sigma), 1 crashed"
    assert PriceList("d", {}).find("x") is None
