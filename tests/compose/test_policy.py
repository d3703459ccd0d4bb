"""Hardening of the compose stack, checked on the file as written (no engine is needed)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("autoresearch-stack/")]
DAEMONS = ["entropyd", "memoryd", "trainer", "agent"]
ONE_SHOTS = ["init", "prepare", "train"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    for limit in ("pids_limit", "mem_limit", "cpus"):
        assert limit in service, limit


@pytest.mark.parametrize("name", OURS)
def test_our_images_run_read_only_and_without_root(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["init"] is True if name != "init" else True
    if name == "init":  # gives volumes to the daemons' user; no network, and it ends at once
        assert (service["user"], service["network_mode"], service["restart"]) == ("0:0", "none", "no")
    else:
        assert service["user"] == "10001:10001"
        assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_exact_versions(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert any(character.isdigit() for character in tag)
    assert tag != "latest"


@pytest.mark.parametrize("name", DAEMONS)
def test_daemons_are_checked_by_grpc_health(name: str) -> None:
    assert "services.health_check" in SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["stop_grace_period"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_crashes_is_started_again_a_few_times(name: str) -> None:
    """Docker waits longer before each try; after five it stays down, which the alert DaemonDown tells."""
    assert SERVICES[name]["restart"] == ("no" if name in ONE_SHOTS else "on-failure:5")


@pytest.mark.parametrize("name", SERVICES)
def test_every_dependency_waits_for_a_condition(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
        assert how == {"condition": wanted}


def test_the_trainer_has_no_way_out_and_no_keys() -> None:
    assert STACK["networks"]["inner"]["internal"] is True
    assert SERVICES["trainer"]["networks"] == ["inner"]
    assert SERVICES["train"]["network_mode"] == "none"
    for name in ("trainer", "train"):
        assert not any("API_KEY" in variable for variable in SERVICES[name]["environment"])
        assert "secrets" not in SERVICES[name]


def test_provider_keys_are_in_the_agent_only_and_as_files() -> None:
    holders = [name for name, service in SERVICES.items() if service.get("secrets")]
    assert holders == ["agent"]
    variables = [
        name
        for name, service in SERVICES.items()
        if any("API_KEY" in variable for variable in service.get("environment", {}))
    ]
    assert variables == ["agent"]


@pytest.mark.parametrize("name", OURS)
def test_each_service_sees_only_the_tokens_it_needs(name: str) -> None:
    allowed = {
        "init": {"entropyd", "memoryd", "trainer", "agent"},
        "entropyd": {"entropyd"},
        "memoryd": {"memoryd", "entropyd"},
        "trainer": {"trainer"},
        "train": {"trainer"},
        "agent": {"agent", "entropyd", "memoryd", "trainer"},
    }.get(name, set())
    secrets = [str(volume) for volume in SERVICES[name].get("volumes", []) if "-secrets:" in str(volume)]
    assert {volume.partition("-secrets:")[0] for volume in secrets} == allowed
    if name != "init":
        assert all(volume.endswith(":ro") for volume in secrets)


def test_the_default_profile_is_the_four_daemons_and_their_two_hands() -> None:
    default = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert default == {*DAEMONS, "init", "relay"}


def test_the_seeds_commands_have_their_services() -> None:
    assert SERVICES["prepare"]["profiles"] == ["setup"]
    assert {"train", "agent", "ferricula"} <= set(SERVICES)
    assert "127.0.0.1:8764:8765" in SERVICES["ferricula"]["ports"]


def test_the_gpu_override_reserves_devices_for_the_trainer_only() -> None:
    override = yaml.safe_load((ROOT / "docs/compose/gpu.yml").read_text())["services"]
    assert set(override) == {"trainer", "train"}
    for service in override.values():
        [device] = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_the_example_environment_holds_no_secret_and_names_what_the_stack_reads() -> None:
    text = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z_]+)=", text, re.MULTILINE))
    read = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert read - named == {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"}
    for line in text.splitlines():
        key, _, value = line.lstrip("# ").partition("=")
        if any(word in key for word in ("PASSWORD", "TOKEN", "KEY")):
            assert value == "" or value.startswith("/"), line
