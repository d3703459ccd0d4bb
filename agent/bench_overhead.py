"""What the agent adds between two experiments: `python -m agent.bench_overhead`.

Runs a session against a scripted trainer and takes the gaps from the trainer's own times: from the end of
one experiment to the arrival of the next.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from agent.launch.launcher import start_daemon
from agent.launch.plan import DaemonPlan
from agent.session.session import Peers
from agent.session.sessions import Sessions
from agent.session.start_options import StartOptions
from agent.settings import ProviderKeys
from services.trainer_client import TrainerClient


async def measure_gaps(experiments: int, folder: Path) -> list[float]:
    """Seconds between consecutive training runs of a search session with so many proposals."""
    arguments = ["--executor", "scripted", "--scripted-seconds", "0.05", "--exit-with-parent"]
    arguments += ["--state", str(folder / "trainer"), "--data", str(folder / "data")]
    arguments += ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    plan = DaemonPlan("trainerd", "trainer", tuple(arguments))
    daemon = await start_daemon(plan, folder)
    try:
        async with TrainerClient(daemon.grpc) as client:
            sessions = Sessions(Peers(client, None, None), ProviderKeys(), address=lambda: "")
            options = StartOptions(lab=folder / "lab", provider="search", max_experiments=experiments)
            session, _ = await sessions.start(options)
            while not await session.wait(60.0):
                continue
            await sessions.close()
            page = await client.list_experiments(page_size=500)
    finally:
        await daemon.stop(2.0)
    times = sorted(
        (item.create_time.ToNanoseconds() / 1e9, item.end_time.ToNanoseconds() / 1e9)
        for item in page.experiments
    )
    return [after[0] - before[1] for before, after in itertools.pairwise(times)]


def summarise(gaps: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th percentile and largest, in seconds."""
    ordered = sorted(gaps)
    return {
        "gaps": len(ordered),
        "median_seconds": round(statistics.median(ordered), 4),
        "p95_seconds": round(ordered[int(len(ordered) * 0.95)], 4),
        "largest_seconds": round(ordered[-1], 4),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.bench_overhead", description=__doc__)
    parser.add_argument("--experiments", type=int, default=30, help="proposals of the session")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.experiments < 1:
        parser.error("--experiments must be at least 1")
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        result = summarise(asyncio.run(measure_gaps(options.experiments, Path(folder))))
    # On a busy machine the gaps measure the others; processor time does not.
    result["cpu_seconds_per_gap"] = round((time.process_time() - began) / result["gaps"], 4)
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        for name, value in result.items():
            sys.stdout.write(f"{name:22}{value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
