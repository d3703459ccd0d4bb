"""Latency of a whole memoryd: gRPC recall with embedding, durable writes, HTTP reads, and a dream's shadow.

The daemon is a process of its own over a SQLite store of synthetic notes. The naive scan of the same run is
the measure: every text compared word by word, every vector by a loop over numpy rows.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from memoryd.bench.labnotes import make_notebook
from memoryd.bench.statistics import percentile
from memoryd.embedding.embedder import Matrix, open_embedder
from memoryd.memory import Batch, Memory, Record, Row
from memoryd.sqlite.backend import open_sqlite
from services.child_server import child_server
from services.errors import ServiceError
from services.memory_client import MemoryClient

PAGE = 1000
WRITERS = 16


async def fill(path: Path, texts: list[str], embedder_name: str) -> Matrix | None:
    """Stores the texts with their vectors, past the daemon; answers the vectors."""
    embedder = await open_embedder(embedder_name)
    backend = await open_sqlite(f"sqlite:///{path}")
    parts = []
    now = int(time.time())
    for at in range(0, len(texts), PAGE):
        page = texts[at : at + PAGE]
        vectors = None if embedder.name == "none" else await embedder.embed(page)
        if vectors is not None:
            parts.append(vectors)
        puts = tuple(
            Memory(
                Row(
                    at + offset + 1,
                    {"text": text, "channel": "hearing"},
                    b"" if vectors is None else vectors[offset].astype("<f4").tobytes(),
                ),
                Record(now - len(texts) + at + offset, now - 90_000),
            )
            for offset, text in enumerate(page)
        )
        await backend.apply(Batch(puts=puts))
    await backend.close()
    await embedder.close()
    return np.concatenate(parts) if parts else None


async def time_each(call: Callable[[int], Awaitable[object]], count: int) -> list[float]:
    """Milliseconds of each of `count` calls, one after the other."""
    times = []
    for number in range(count):
        begun = time.perf_counter()
        await call(number)
        times.append(1000 * (time.perf_counter() - begun))
    return times


async def naive_scan(
    texts: list[str], vectors: Matrix | None, questions: list[str], embedder_name: str
) -> list[float]:
    """Milliseconds of a search without any index, for a few of the questions."""
    embedder = await open_embedder(embedder_name)
    times = []
    for question in questions[:5]:
        begun = time.perf_counter()
        wanted = set(question.lower().split())
        scores = np.array([len(wanted & set(text.lower().split())) for text in texts], dtype=float)
        if vectors is not None:
            asked = (await embedder.embed([question]))[0]
            scores += [float(np.dot(row, asked)) for row in vectors]
        np.argsort(-scores)[:10]
        times.append(1000 * (time.perf_counter() - begun))
    await embedder.close()
    return times


@asynccontextmanager
async def started(path: Path, embedder: str) -> AsyncIterator[tuple[dict[str, str], float]]:
    """A daemon over the store: where it serves, and the seconds that its start took."""
    begun = time.perf_counter()
    arguments = [f"--backend=sqlite:///{path}", f"--embedder={embedder}", "--clock-tick-seconds=0"]
    arguments += ["--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"]
    async with child_server(
        "memoryd", *arguments, start_seconds=300, stderr=asyncio.subprocess.DEVNULL
    ) as addresses:
        yield addresses, time.perf_counter() - begun


async def measure(memories: int, requests: int, embedder: str) -> dict[str, object]:
    book = make_notebook(1, notes=max(1000, min(memories, 5000)))
    texts = [f"{book.notes[number % len(book.notes)].text} #{number}" for number in range(memories)]
    questions = [one.text for one in book.questions]
    with tempfile.TemporaryDirectory(prefix="memoryd-bench-") as folder:
        path = Path(folder) / "memory.db"
        vectors = await fill(path, texts, embedder)
        async with started(path, embedder) as (_, first_start):
            pass  # it takes the texts apart and leaves their search terms beside the store
        async with started(path, embedder) as (announced, second_start):
            figures = await _ask(announced, questions, requests)
    naive = await naive_scan(texts, vectors, questions, embedder)
    recall = figures["recall"]
    return {
        "memories": memories,
        "embedder": embedder,
        "first_start_seconds": round(first_start, 2),
        "second_start_seconds": round(second_start, 2),
        "milliseconds": {
            name: {"p50": round(percentile(times, 0.5), 2), "p95": round(percentile(times, 0.95), 2)}
            for name, times in {**figures, "naive scan": naive}.items()
            if times
        },
        "recall_faster_than_naive": round(percentile(naive, 0.5) / percentile(recall, 0.5), 1),
        "longest_wait_in_dream_ms": round(max(figures["status in a dream"], default=0.0), 1),
    }


async def _ask(announced: dict[str, str], questions: list[str], requests: int) -> dict[str, list[float]]:
    import aiohttp

    figures: dict[str, list[float]] = {}
    async with MemoryClient(announced["grpc"], timeout=60.0) as client, aiohttp.ClientSession() as http:

        def asked(number: int) -> str:
            return questions[number % len(questions)]

        await time_each(lambda number: client.recall(asked(number)), 10)
        figures["recall"] = await time_each(lambda number: client.recall(asked(number)), requests)
        figures["search"] = await time_each(lambda number: client.search(asked(number)), requests)
        figures["durable write"] = await time_each(
            lambda number: client.remember(f"new note {number}"), requests
        )

        async def write(writer: int) -> list[float]:
            return await time_each(
                lambda n: client.remember(f"note {writer} {n}"), max(1, requests // WRITERS)
            )

        together = await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        figures[f"durable write, {WRITERS} writers"] = [one for times in together for one in times]

        async def get_status(number: int) -> None:
            async with http.get(f"http://{announced['http']}/status") as response:
                await response.read()

        figures["HTTP status"] = await time_each(get_status, requests)
        figures["status in a dream"] = []
        dream = asyncio.create_task(client.dream(intensity=1.0, seed=b"bench"))
        while not dream.done():
            figures["status in a dream"] += await time_each(get_status, 1)
            await asyncio.sleep(0.005)
        try:
            await dream
        except ServiceError:
            figures["status in a dream"].append(float("inf"))
    return figures


def table(report: dict[str, object]) -> str:
    milliseconds = report["milliseconds"]
    assert isinstance(milliseconds, dict)
    lines = [
        f"{report['memories']} memories, embedder {report['embedder']}",
        f"  first start {report['first_start_seconds']} s, with the search terms beside the store "
        f"{report['second_start_seconds']} s",
    ]
    lines += [
        f"  {name:28} p50 {one['p50']:8.2f} ms   p95 {one['p95']:8.2f} ms"
        for name, one in milliseconds.items()
    ]
    lines.append(f"  recall is {report['recall_faster_than_naive']} times as fast as the naive scan")
    lines.append(f"  longest wait of a request during a dream: {report['longest_wait_in_dream_ms']} ms")
    return "\n".join(lines)


def run(memories: int, requests: int, embedder: str) -> dict[str, object]:
    return asyncio.run(measure(memories, requests, embedder))
