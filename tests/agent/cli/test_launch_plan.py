"""Which daemons are started with which flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.launch.environment import child_environment, key_names
from agent.launch.plan import LaunchOptions, choose_memory, plan_agent, plan_peers
from services.errors import ConfigurationError

LAB, DATA = Path("/l/lab"), Path("/l/data")


def test_a_lab_of_its_own_starts_three_peers_on_free_ports() -> None:
    plans = {plan.name: plan for plan in plan_peers(LaunchOptions(LAB, DATA))}
    assert set(plans) == {"entropyd", "memoryd", "trainerd"}
    assert plans["trainerd"].module == "trainer"
    for plan in plans.values():
        assert plan.arguments[plan.arguments.index("--listen") + 1] == "127.0.0.1:0"
        assert plan.arguments[plan.arguments.index("--http-listen") + 1] == "127.0.0.1:0"
        assert "--exit-with-parent" in plan.arguments
        assert not plan.with_keys
    memory = plans["memoryd"].arguments
    assert memory[memory.index("--backend") + 1] == "sqlite:////l/lab/.autoresearch/memory.db"
    assert "--unsafe" not in plans["trainerd"].arguments


def test_up_uses_the_default_ports() -> None:
    plans = {plan.name: plan for plan in plan_peers(LaunchOptions(LAB, DATA, default_ports=True))}
    trainer = plans["trainerd"].arguments
    assert trainer[trainer.index("--listen") + 1] == "127.0.0.1:50053"
    assert trainer[trainer.index("--http-listen") + 1] == "127.0.0.1:9464"


def test_daemons_that_run_already_are_not_started_and_are_told_to_the_agent() -> None:
    options = LaunchOptions(LAB, DATA, trainer="gpu:1", memory="store:2", entropy="radio:3")
    assert plan_peers(options) == []
    agent = plan_agent(options, {})
    pairs = dict(zip(agent.arguments[::2], agent.arguments[1::2], strict=False))
    assert (pairs["--trainer"], pairs["--memory"], pairs["--entropy"]) == ("gpu:1", "store:2", "radio:3")
    assert agent.with_keys


def test_the_agent_learns_the_ports_that_its_peers_got() -> None:
    started = {"entropyd": "127.0.0.1:11", "memoryd": "127.0.0.1:12", "trainerd": "127.0.0.1:13"}
    text = " ".join(plan_agent(LaunchOptions(LAB, DATA), started).arguments)
    assert "--trainer 127.0.0.1:13 --memory 127.0.0.1:12 --entropy 127.0.0.1:11" in text


@pytest.mark.parametrize(
    ("text", "backend", "peer"),
    [
        ("", "sqlite:////s/memory.db", ""),
        ("http://host:8765", "ferricula+http://host:8765", ""),
        ("https://host", "ferricula+https://host", ""),
        ("sqlite:///rel.db", "sqlite:///rel.db", ""),
        ("postgresql://u@h/d", "postgresql://u@h/d", ""),
        ("host:50052", "", "host:50052"),
        ("[::1]:50052", "", "[::1]:50052"),
        ("none", "", ""),
    ],
)
def test_memory_is_a_store_a_peer_or_nothing(text: str, backend: str, peer: str) -> None:
    choice = choose_memory(text, Path("/s"))
    assert (choice.backend, choice.peer) == (backend, peer)


@pytest.mark.parametrize("text", ["mysql://x", "host", "host:port", "host:99999"])
def test_other_memory_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--memory"):
        choose_memory(text, Path("/s"))


def test_keys_reach_the_agent_and_nobody_else() -> None:
    names = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "XAI_API_KEY", "AWS_SECRET_ACCESS_KEY")
    environment = dict.fromkeys(names, "canary") | {"PATH": "/bin", "PGPASSWORD": "p", "CUDA_HOME": "/c"}
    assert "canary" not in child_environment(with_keys=False, environment=environment).values()
    kept = child_environment(with_keys=False, environment=environment)
    assert (kept["PATH"], kept["PGPASSWORD"], kept["CUDA_HOME"]) == ("/bin", "p", "/c")
    assert child_environment(with_keys=True, environment=environment)["XAI_API_KEY"] == "canary"
    assert key_names(environment) == ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY"]
