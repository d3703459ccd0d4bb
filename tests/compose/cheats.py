"""A handful of the red-team corpus inside the compose trainer, submitted through the relay from the host."""

from __future__ import annotations

import asyncio
import json

from autoresearch.trainer.v1 import trainer_pb2 as pb

from services.security import ClientSecurity
from services.trainer_client import TrainerClient
from tests.cheats.candidates import Candidate, outcome_of, read_candidates
from tests.compose.engine import Stack

RELAY = "127.0.0.1:50053"
OUTSIDE = "/data/outside.txt"
CHEATS = (
    "read_validation_beside", "read_origin_file", "read_validation_proc_root", "network_loopback",
    "network_ipv4", "network_dns", "new_namespace", "trace_the_supervisor", "write_everywhere",
    "environment_keys", "fork_bomb", "future_roll", "forge_report",
)  # fmt: skip


def run_cheats(stack: Stack) -> str:
    """Each ends as its file says, the trainer's token shows nowhere, and nothing outside was touched."""
    token = stack.compose("exec", "-T", "trainer", "cat", "/secrets/token").strip()
    stack.compose("exec", "-T", "trainer", "sh", "-c", f"echo untouched > {OUTSIDE}")
    prepare = ("python", "-m", "trainer", "prepare", "--preset", "tiny", "--data", "/data")
    stack.compose("exec", "-T", "trainer", *prepare, timeout=600)
    manifest = stack.compose(
        "exec", "-T", "trainer", "sh", "-c", "cat /data/*/manifest.json | head -c 2000000"
    )
    first, _ = json.JSONDecoder().raw_decode(manifest)
    known = {
        "ORIGIN": first["origin_files"][0], "OUTSIDE": OUTSIDE, "CANARY": token, "MARK": "compose-mark",
        "PORT": "50053", "SOCKET": "/tmp/no.sock", "ABSTRACT": "none", "COMPILE_CACHE": "/state/cache",
    }  # fmt: skip
    wanted = [one for one in read_candidates("cheats") if one.name in CHEATS]
    assert len(wanted) == len(CHEATS)
    ended, tier = asyncio.run(_submit(wanted, known, token))
    wrong = [
        f"{one.name}: {outcome_of(ended[one.name])} instead of {one.expected}"
        for one in wanted
        if outcome_of(ended[one.name])[: len(one.expected)] != one.expected
    ]
    assert not wrong, "; ".join(wrong)
    assert not [name for name, run in ended.items() if token in "".join(run.result.log_tail)]
    assert stack.compose("exec", "-T", "trainer", "cat", OUTSIDE).strip() == "untouched"
    forged = ended["forge_report"].result
    assert forged.val_bpb > 1, "the forged score was believed"
    stack.wait_healthy("trainer")
    return f"{len(wanted)} of {len(wanted)}, sandbox {tier}"


async def _submit(
    wanted: list[Candidate], known: dict[str, str], token: str
) -> tuple[dict[str, pb.Experiment], str]:
    async with TrainerClient(RELAY, security=ClientSecurity(token=token)) as client:
        tier = pb.SandboxTier.Name((await client.capabilities()).sandbox_tier)
        for one in wanted:
            await client.start(
                pb.StartExperimentRequest(
                    experiment_id=f"cheat-{one.name}",
                    train_source=one.source(known),
                    seed=pb.SeedGrant(value=20_260_101),
                    preset="tiny",
                    origin=pb.SOURCE_ORIGIN_MODEL,
                )
            )
        ended = {}
        for one in wanted:
            async for _ in client.watch(f"cheat-{one.name}", timeout=900.0):
                pass
            ended[one.name] = await client.get(f"cheat-{one.name}")
    return ended, tier.removeprefix("SANDBOX_TIER_").lower()
