"""Check of the trainer by asking one: its device, its preset, and the sandbox that works here."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.doctor.daemons import Peer, known_peers, unreachable
from agent.doctor.examination import Check, Finding, Surroundings, error, ok, warn
from agent.launch.addresses import read_addresses
from agent.launch.launcher import start_daemon
from agent.launch.plan import LaunchOptions, plan_peers
from services.errors import ServiceError
from services.trainer_client import TrainerClient

START_SECONDS = 60.0
ANSWER_SECONDS = 90.0


def check_trainer(around: Surroundings) -> list[Finding]:
    """Asks the trainerd that the settings name, or the lab's, or one that is started for the question."""
    if around.trainer_is_elsewhere:
        return _check_elsewhere(around)
    try:
        found = asyncio.run(_ask(around))
    except ServiceError as problem:
        return [
            error("trainer", f"trainerd does not work: {problem}", "repair what it names, then try again")
        ]
    return describe(found)


def describe(found: pb.GetCapabilitiesResponse) -> list[Finding]:
    """What the capabilities mean for a person."""
    devices = ", ".join(device.name for device in found.devices) or "no device"
    tier = pb.SandboxTier.Name(found.sandbox_tier).removeprefix("SANDBOX_TIER_").lower()
    findings = [ok("trainer", f"{devices}, preset {found.default_preset}, sandbox {tier}")]
    if found.sandbox_tier in (pb.SANDBOX_TIER_NONE, pb.SANDBOX_TIER_UNSPECIFIED):
        findings.append(
            warn(
                "sandbox",
                "no sandbox works here: only hyperparameters may change, code of a model is refused",
                "install bubblewrap, or use Linux 5.13 or newer for Landlock",
            )
        )
    findings += [warn("trainer", text, "see docs/trainer.md") for text in found.warnings]
    return findings


def _check_elsewhere(around: Surroundings) -> list[Finding]:
    try:
        [peer] = [peer for peer in known_peers(around) if peer.name == "trainerd"]
    except ServiceError:
        return []  # check_daemons says it
    try:
        return describe(asyncio.run(_ask_elsewhere(peer)))
    except ServiceError as problem:
        return [unreachable(peer, problem)]


async def _ask_elsewhere(peer: Peer) -> pb.GetCapabilitiesResponse:
    async with TrainerClient(peer.address, security=peer.security) as client:
        return await client.capabilities(timeout=ANSWER_SECONDS)


async def _ask(around: Surroundings) -> pb.GetCapabilitiesResponse:
    entry = read_addresses(around.lab / ".autoresearch" / "addresses.json").get("trainerd")
    if entry is not None:
        try:
            async with TrainerClient(entry.grpc) as client:
                return await client.capabilities(timeout=ANSWER_SECONDS)
        except ServiceError:
            pass  # left over from daemons that were killed
    with tempfile.TemporaryDirectory(prefix="autoresearch-doctor-") as folder:
        plans = plan_peers(LaunchOptions(Path(folder), around.data))
        plan = next(plan for plan in plans if plan.name == "trainerd")
        daemon = await start_daemon(plan, Path(folder), announce_timeout=START_SECONDS)
        try:
            async with TrainerClient(daemon.grpc) as client:
                return await client.capabilities(timeout=ANSWER_SECONDS)
        finally:
            await daemon.stop(5.0)


CHECKS: tuple[Check, ...] = (check_trainer,)
