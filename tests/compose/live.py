"""`python -m tests.compose.live [--base-image IMAGE] [--report FILE]`: the compose stack for real.

Builds the images, brings the stack up, runs a CPU session through the agent against memoryd on SQLite and
then on PostgreSQL, restarts each daemon in turn, stops entropyd in the middle, takes everything down and up
again, and checks that nothing was lost. Prints one line a step; SKIPPED with the reason without an engine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.compose.engine import Stack, StepFailed, missing_part

DAEMONS = ("entropyd", "memoryd", "trainer", "agent")


class Report:
    """Prints each step with its time as it ends, and keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failed = False

    def step(self, name: str, work: Callable[[], str]) -> None:
        started = time.monotonic()
        try:
            detail, mark = work(), "ok"
        except (StepFailed, AssertionError) as error:
            detail, mark, self.failed = str(error), "FAILED", True
        self.say(f"{mark:<7}{time.monotonic() - started:7.1f} s  {name}{': ' + detail if detail else ''}")
        if mark == "FAILED":
            raise SystemExit(self.finish(1))

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def finish(self, code: int) -> int:
        return code


def session(stack: Stack, proposals: int) -> dict[str, object]:
    """Runs a session to `proposals` in all and answers its summary."""
    out = stack.compose(
        "run", "--rm", "-T", "agent", "run", "--lab", "/lab", "--agent", "agent:50054",
        "--token-file", "/secrets/token", "--max-experiments", str(proposals), "--json",
        timeout=900,
    )  # fmt: skip
    summary: dict[str, object] = json.loads(out.strip().splitlines()[-1])
    return summary


def history(stack: Stack) -> list[str]:
    text = stack.compose("exec", "-T", "agent", "cat", "/lab/results.tsv")
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


def run(report: Report, base_image: str) -> int:
    stack = Stack("autoresearch-live", {"BASE_IMAGE": base_image, "TRAINER_MEMORY": "6g"})
    stack.compose("down", "-v", "--remove-orphans", check=False)
    try:
        report.step("images build", lambda: stack.build(base_image) or "")
        started = time.monotonic()
        report.step("stack comes up, every health check passes", lambda: bring_up(stack))
        report.step("idle memory without models at most 1 GB", lambda: idle_memory(stack))
        report.step("session on SQLite: baseline and one proposal", lambda: first_session(stack, started))
        for service in DAEMONS:
            report.step(f"restart of {service} loses nothing", lambda name=service: restart(stack, name))  # type: ignore[misc]
        report.step("entropyd gone: a session goes on with seeds labelled os", lambda: without_entropy(stack))
        report.step("down and up keeps everything", lambda: down_and_up(stack))
        report.step("session on PostgreSQL", lambda: on_postgres(stack, base_image))
        return report.finish(0)
    finally:
        stack.compose("down", "-v", "--remove-orphans", check=False)


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


def first_session(stack: Stack, started: float) -> str:
    session(stack, 1)
    rows = history(stack)
    assert len(rows) == 3, rows
    assert memories(stack) >= 1
    return f"{len(rows) - 1} rows, {time.monotonic() - started:.0f} s after `up`"


def restart(stack: Stack, service: str) -> str:
    before = (history(stack), memories(stack))
    stack.compose("restart", service, timeout=120)
    for name in (service, "trainer", "memoryd", "agent"):
        stack.wait_healthy(name)
    assert (history(stack), memories(stack)) == before
    return ""


def without_entropy(stack: Stack) -> str:
    stack.compose("kill", "entropyd")
    session(stack, 2)
    rows = history(stack)
    assert len(rows) == 4, rows
    stack.compose("up", "-d", "--no-build", "entropyd")
    stack.wait_healthy("entropyd")
    return ""


def down_and_up(stack: Stack) -> str:
    before = (history(stack), memories(stack))
    stack.compose("down", timeout=180)
    bring_up(stack)
    after = (history(stack), memories(stack))
    assert after == before, (before, after)
    return f"{len(before[0]) - 1} rows, {before[1]} memories"


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
    session(stack, 3)
    after = memories(stack)
    assert after > before, (before, after)
    return f"{after} memories"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-image", default="debian:12.12-slim")
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    report = Report()
    reason = missing_part()
    if reason:
        report.say(f"SKIPPED: {reason}")
        sys.exit(0)
    try:
        code = run(report, arguments.base_image)
        report.say("all steps passed")
    finally:
        if arguments.report:
            arguments.report.write_text("\n".join(report.lines) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
