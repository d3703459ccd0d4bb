"""`python -m tests.compose.live [--base-image IMAGE] [--report FILE]`: the compose stack for real.

Builds the images, brings the stack up, times the first experiment, trains sessions through the agent against
memoryd on SQLite and then on PostgreSQL, restarts each daemon idle and in the middle of a session, kills
entropyd, lets memoryd crash until it is given up, runs cheats, takes everything down and up again, and checks
that nothing was lost. Prints one line a step; SKIPPED with the reason without an engine. Sessions train the
preset `tiny`, the first run `cpu` (or what --first-preset says).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.compose.cheats import run_cheats
from tests.compose.crash_loop import crash_loop
from tests.compose.engine import Stack, missing_part
from tests.compose.report import Report

DAEMONS = ("entropyd", "memoryd", "trainer", "agent")


def agent_run(lab: str, *options: str) -> tuple[str, ...]:
    """Arguments of `docker compose` that follow a session of the stack's agentd without a terminal."""
    where = ("--lab", f"/lab/{lab}", "--agent", "agent:50054", "--token-file", "/secrets/token")
    return ("run", "--rm", "-T", "agent", "run", *where, "--json", *options)


def session(stack: Stack, proposals: int) -> dict[str, object]:
    """Runs a session to `proposals` in all and answers its summary."""
    limit = ("--preset", "tiny", "--max-experiments", str(proposals))
    out = stack.compose(*agent_run("quick", *limit), timeout=3000)
    summary: dict[str, object] = json.loads(out.strip().splitlines()[-1])
    assert len(history(stack)) == proposals + 2, history(stack)
    return summary


def one_more(stack: Stack) -> dict[str, object]:
    """Goes on with the session for one proposal."""
    return session(stack, len(history(stack)) - 1)


def history(stack: Stack) -> list[str]:
    text = stack.compose("exec", "-T", "agent", "cat", "/lab/quick/results.tsv")
    return text.strip().splitlines()


def memories(stack: Stack) -> int:
    code = (
        "import asyncio, pathlib\n"
        "from services.memory_client import MemoryClient\n"
        "from services.security import ClientSecurity\n"
        "async def main():\n"
        "    token = pathlib.Path('/peers/memoryd/token').read_text().strip()\n"
        "    async with MemoryClient('memoryd:50052', security=ClientSecurity(token=token)) as client:\n"
        "        print((await client.status()).row_count)\n"
        "asyncio.run(main())\n"
    )
    return int(stack.compose("exec", "-T", "agent", "python", "-c", code))


def run(report: Report, base_image: str, first_preset: str, limit: float) -> None:
    files = ("docker-compose.yml", "tests/compose/quick.yml")
    stack = Stack("autoresearch-live", {"BASE_IMAGE": base_image, "TRAINER_MEMORY": "6g"}, files)
    everything = ("--profile", "*", "down", "-v", "--remove-orphans")
    stack.compose(*everything, check=False)
    try:
        report.step("images build", lambda: build_images(stack, base_image), needed=True)
        started = time.monotonic()
        report.step("stack comes up, every health check passes", lambda: bring_up(stack), needed=True)
        report.step("idle memory without models at most 1 GB", lambda: idle_memory(stack))
        name = f"cold start to the first experiment, preset {first_preset}"
        report.step(name, lambda: first_experiment(stack, started, first_preset, limit))
        report.step("session on SQLite: baseline and one proposal", lambda: first_session(stack))
        for service in DAEMONS:
            report.step(
                f"restart of {service} loses nothing", partial(kept, stack, partial(restart, service=service))
            )
        report.step("a session outlives restarts of its three peers", lambda: restarts_meanwhile(stack))
        report.step("a session resumes after a restart of agentd", lambda: agentd_restarts(stack))
        report.step("entropyd killed: a session goes on with seeds labelled os", lambda: no_entropy(stack))
        report.step("a daemon that cannot start gives up loudly", lambda: kept(stack, crash_loop))
        report.step("cheats are refused inside the trainer's container", lambda: run_cheats(stack))
        report.step("docker compose run train", lambda: train_once(stack))
        report.step("down and up keeps everything", lambda: kept(stack, down_and_up))
        report.step("session on PostgreSQL", lambda: on_postgres(stack, base_image))
    finally:
        stack.compose(*everything, check=False)


def build_images(stack: Stack, base_image: str) -> str:
    stack.build(base_image)
    size, base = (
        int(stack.docker("image", "inspect", "-f", "{{.Size}}", name))
        for name in ("autoresearch-stack/entropyd:0.1.0", base_image)
    )
    assert size - base <= 200e6, f"entropyd's image is {(size - base) / 1e6:.0f} MB over its base"
    return f"entropyd's is {(size - base) / 1e6:.0f} MB over its base"


def bring_up(stack: Stack) -> str:
    stack.compose("up", "-d", "--no-build", timeout=300)
    for service in (*DAEMONS, "relay"):
        stack.wait_healthy(service)
    return ""


def idle_memory(stack: Stack) -> str:
    used = stack.resident_megabytes()
    total = sum(used.values())
    assert total <= 1024, f"{total:.0f} MB: {used}"
    return f"{total:.0f} MB"


def first_experiment(stack: Stack, started: float, preset: str, limit: float) -> str:
    """From `up` to the first score; the session is then stopped in the middle."""
    scored = 0.0
    with stack.following(*agent_run("cold", "--preset", preset)) as lines:
        for line in lines:
            event = json.loads(line)
            runs = event.get("proposal", {}).get("runs", []) if event["type"] == "proposal" else []
            if not scored and any(run["val_bpb"] is not None for run in runs):
                scored, value = time.monotonic() - started, runs[0]["val_bpb"]
                where = ("--lab", "/lab/cold", "--agent", "agent:50054", "--token-file", "/secrets/token")
                stack.compose("run", "--rm", "-T", "agent", "stop", *where)
    assert scored, "the session ended without a score"
    assert scored <= limit, f"{scored:.0f} s"
    return f"{scored:.0f} s after `up`, {value:.3f} bits per byte"


def first_session(stack: Stack) -> str:
    started, scored = time.monotonic(), 0.0
    with stack.following(*agent_run("quick", "--preset", "tiny", "--max-experiments", "1")) as lines:
        for line in lines:
            event = json.loads(line)
            if not scored and event["type"] == "proposal" and event["proposal"]["val_bpb"] is not None:
                scored = time.monotonic() - started
    assert len(history(stack)) == 3, history(stack)
    count = memories(stack)
    assert count >= 1
    return f"first score after {scored:.0f} s; 2 rows, {count} memories"


def kept(stack: Stack, work: Callable[[Stack], str]) -> str:
    """Does the work; history and memories must be the same before and after it."""
    before = (history(stack), memories(stack))
    said = work(stack)
    after = (history(stack), memories(stack))
    assert after == before, (before, after)
    return said


def restart(stack: Stack, service: str) -> str:
    stack.compose("restart", service, timeout=120)
    for name in (service, "trainer", "memoryd", "agent"):
        stack.wait_healthy(name)
    return ""


def restarts_meanwhile(stack: Stack) -> str:
    waiting = ["trainer", "memoryd", "entropyd"]
    proposals = len(history(stack)) - 1
    limit = ("--preset", "tiny", "--max-experiments", str(proposals))
    with stack.following(*agent_run("quick", *limit)) as lines:
        for line in lines:
            training = json.loads(line)["type"] == "progress"
            if training and waiting:
                name = waiting.pop()
                stack.compose("restart", name, timeout=120)
                stack.wait_healthy(name)
    assert not waiting, f"the session ended before {waiting} were restarted"
    rows = history(stack)
    assert len(rows) == proposals + 2, rows
    assert not [row for row in rows if "\tcrash\t" in row], rows
    return f"{len(rows) - 1} rows"


def agentd_restarts(stack: Stack) -> str:
    proposals = len(history(stack)) - 1
    limit = ("--preset", "tiny", "--max-experiments", str(proposals))
    restarted = False
    with stack.following(*agent_run("quick", *limit)) as lines:
        for line in lines:
            if not restarted and json.loads(line)["type"] == "progress":
                restarted = True
                stack.compose("restart", "agent", timeout=120)
                stack.wait_healthy("agent")
    assert restarted, "the session ended before agentd was restarted"
    session(stack, proposals)
    rows = history(stack)
    assert len({row.split("\t")[4] for row in rows}) == len(rows), rows
    return f"{len(rows) - 1} rows, none twice"


def no_entropy(stack: Stack) -> str:
    stack.compose("kill", "entropyd")
    summary = one_more(stack)
    stack.compose("up", "-d", "--no-build", "entropyd")
    stack.wait_healthy("entropyd")
    session_fields = summary["session"]
    assert isinstance(session_fields, dict)
    return f"source {session_fields['entropy_source']}"


def train_once(stack: Stack) -> str:
    arguments = ("train", "--data", "/data", "--preset", "tiny", "--json")
    out = stack.compose("--profile", "train", "run", "--rm", "-T", "train", *arguments, timeout=600)
    result = json.loads(out.strip().splitlines()[-1])
    return str(result.get("val_bpb", sorted(result)))[:60]


def down_and_up(stack: Stack) -> str:
    stack.compose("down", timeout=180)
    bring_up(stack)
    return f"{len(history(stack)) - 1} rows, {memories(stack)} memories"


def on_postgres(stack: Stack, base_image: str) -> str:
    image = "pgvector/pgvector:0.8.1-pg17"
    if not stack.docker("images", "-q", image).strip():
        stack.build_standin(image, "tests/compose/postgres", base_image)
    stack.environment |= {
        "POSTGRES_PASSWORD": "live-test-password",
        "MEMORY_BACKEND": "postgresql://memory:live-test-password@postgres/memory",
    }
    stack.compose("--profile", "postgres", "up", "-d", "--no-build", "postgres")
    stack.wait_healthy("postgres")
    stack.compose("up", "-d", "--no-build", "memoryd")
    stack.wait_healthy("memoryd")
    before = memories(stack)
    one_more(stack)
    after = memories(stack)
    assert after > before, (before, after)
    stack.compose("--profile", "postgres", "restart", "postgres", timeout=120)
    stack.wait_healthy("postgres")
    stack.wait_healthy("memoryd")
    again = memories(stack)
    assert again == after, (after, again)
    return f"{after} memories, the same after a restart of the database"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-image", default="debian:12.12-slim")
    parser.add_argument("--report", type=Path)
    parser.add_argument(
        "--without", nargs="*", default=[], help="leave out steps with these words in their names"
    )
    parser.add_argument("--first-preset", default="cpu", help="of the run that the cold start is timed with")
    limit_help = "seconds that it may take on this machine; 300 is what is promised of an idle one"
    parser.add_argument("--cold-limit", type=float, default=300.0, help=limit_help)
    arguments = parser.parse_args()
    report = Report(arguments.without, arguments.report)
    reason = missing_part()
    if reason:
        report.say(f"SKIPPED: {reason}")
        sys.exit(0)
    report.say(f"{os.cpu_count()} cores; load average before: {os.getloadavg()[0]:.1f}")
    run(report, arguments.base_image, arguments.first_preset, arguments.cold_limit)
    report.say(f"load average after: {os.getloadavg()[0]:.1f}")
    report.say("some steps FAILED" if report.failed else "all of these steps passed")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
