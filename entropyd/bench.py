"""`entropyd bench`: what testing, drawing and checking cost on this machine.

pipeline: share of one core for all tests and conditioning at 2.4 MS/s, and accounted output at H = 0.1.
grpc: 32-byte draws from the generator over loopback. http: 8-byte draws in HTTP/1.0 while 8 streams
drain. receipts: 10,000 checked as a third party would. The daemon of grpc and http is a real process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from services.child_server import child_server

FULL_RATE = 2_400_000
PARTS = ("pipeline", "grpc", "http", "receipts")


def bench_pipeline(chunks: int = 60) -> dict[str, float]:
    """CPU seconds of this process, so that other programs do not count."""
    from entropyd.conditioning.pipeline import Pipeline
    from entropyd.source import Chunk, SourceDescription, SourceKind
    from entropyd.sources.synthetic import SyntheticReceiver

    receiver = SyntheticReceiver(1)
    data = [receiver.chunk() for _ in range(chunks)]
    pipeline = Pipeline(SourceDescription(SourceKind.RADIO, "bench", raw=True), bytes(32))
    started, output, seconds_of_air = time.process_time(), 0, 0.0
    for sequence, part in enumerate(data):
        pairs = len(part) // 2
        report = pipeline.process(Chunk(part, sequence, sequence * pairs / FULL_RATE, len(part)))
        output += sum(len(block.data) for block in report.blocks)
        seconds_of_air += pairs / FULL_RATE
    cpu = time.process_time() - started
    return {
        "core_share_at_2.4_MS/s_percent": 100 * cpu / seconds_of_air,
        "accounted_kB_per_s_at_H_0.1": output / seconds_of_air / 1000,
        "raw_MB_per_cpu_second": sum(map(len, data)) / cpu / 1e6,
    }


async def bench_grpc(draws: int = 2000) -> dict[str, float]:
    from services.entropy_client import EntropyClient

    async with daemon("--source", "os:") as addresses, EntropyClient(addresses["grpc"]) as client:
        for _ in range(100):
            await client.draw(32, purpose="warm up")
        taken = []
        for _ in range(draws):
            started = time.perf_counter()
            await client.draw(32, purpose="bench")
            taken.append(time.perf_counter() - started)
    return milliseconds("draw_32_bytes", taken)


async def bench_http(draws: int = 500, streams: int = 8) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "noise.iq"
        await asyncio.to_thread(_write_noise, capture)
        async with daemon("--source", f"file:{capture}", "--settle-seconds", "0") as addresses:
            host, _, port = addresses["http"].rpartition(":")
            writers = []
            for _ in range(streams):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /api/entropy/stream HTTP/1.1\r\nHost: bench\r\n\r\n")
                writers.append((asyncio.create_task(_drain(reader)), writer))
            await asyncio.sleep(1.0)
            taken = [await _timed_get(host, int(port)) for _ in range(draws)]
            for task, writer in writers:
                task.cancel()
                writer.close()
    return milliseconds(f"draw_8_bytes_beside_{streams}_streams", taken)


def bench_receipts(count: int = 10_000) -> dict[str, float]:
    from datetime import UTC, datetime

    from entropyd.dispensing.draw import Draw, PoolKind
    from entropyd.health import HealthState, SourceHealth
    from entropyd.records.receipts import NO_RECEIPT, Signer, check_chain
    from entropyd.source import SourceKind

    now, signer = datetime.now(UTC), Signer(bytes(range(32)))
    health = SourceHealth(HealthState.HEALTHY, "", "", now)
    receipts, previous = [], NO_RECEIPT
    started = time.process_time()
    for number in range(count):
        data = number.to_bytes(8, "big")
        draw = Draw(str(number), data, SourceKind.RADIO, "bench", PoolKind.FULL, 64.0, health, 1, now)
        receipts.append(signer.sign(draw, previous_hash=previous))
        previous = receipts[-1].receipt_hash
    signed = time.process_time()
    problem = check_chain(receipts)
    if problem:
        raise AssertionError(problem)
    return {
        f"sign_{count}_cpu_seconds": signed - started,
        f"verify_{count}_cpu_seconds": time.process_time() - signed,
    }


def daemon(*arguments: str) -> AbstractAsyncContextManager[dict[str, str]]:
    """A daemon process on free ports; its addresses."""
    addresses = ("--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
    return child_server("entropyd", *addresses, "--log-level", "error", *arguments, start_seconds=30.0)


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


async def _timed_get(host: str, port: int) -> float:
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /api/entropy?bytes=8&format=json HTTP/1.0\r\nConnection: close\r\n\r\n")
    await reader.read()
    taken = time.perf_counter() - started
    writer.close()
    return taken


def _write_noise(path: Path) -> None:
    from entropyd.sources.synthetic import SyntheticReceiver

    receiver = SyntheticReceiver(2)
    path.write_bytes(b"".join(receiver.chunk() for _ in range(20)))


def milliseconds(name: str, taken: Sequence[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        f"{name}_p50_ms": 1000 * ordered[len(ordered) // 2],
        f"{name}_p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="entropyd bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be given again")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "pipeline": bench_pipeline,
        "grpc": lambda: asyncio.run(bench_grpc()),
        "http": lambda: asyncio.run(bench_http()),
        "receipts": bench_receipts,
    }
    results: dict[str, Any] = {name: parts[name]() for name in options.only or PARTS}
    if options.json:
        sys.stdout.write(json.dumps(results) + "\n")
    else:
        for name, figures in results.items():
            for figure, value in figures.items():
                sys.stdout.write(f"{name}: {figure} = {value:.2f}\n")
    return 0
