"""An embedding service on a real port that goes away and comes back, and what late vectors must keep to."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.memoryd.running import Running, running

DIMENSION = 8


def vector_of(text: str, model: str = "first", dimension: int = DIMENSION) -> list[float]:
    """The vector that a model makes of a text; zeros for one without a letter."""
    if not any(letter.isalpha() for letter in text):
        return [0.0] * dimension
    digest = hashlib.sha256(f"{model}\0{text}".encode()).digest()
    return [float(byte) - 127.5 for byte in digest[:dimension]]


class EmbeddingService:
    """Keeps its port while it is away. `refused` are texts that it answers without a vector."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._reserved: socket.socket | None = None
        self.port = 0
        self.model = "first"
        self.dimension = DIMENSION
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.on_ask: Callable[[str], object] = lambda text: None
        self.leave()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def leave(self) -> None:
        """Refuses connections from now on, and lets nobody else have the port."""
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self.port))
        self.port = self._reserved.getsockname()[1]

    async def go_away(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self.leave()

    async def come_back(self) -> None:
        application = web.Application()
        application.router.add_post("/memory/_mcp/ingest", self._ingest)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        if self._reserved is not None:
            self._reserved.close()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def close(self) -> None:
        await self.go_away()
        if self._reserved is not None:
            self._reserved.close()

    async def _ingest(self, request: web.Request) -> web.Response:
        text = (await request.json())["text"]
        self.asked.append(text)
        answer = self.on_ask(text)
        if asyncio.iscoroutine(answer):
            await answer
        if text in self.refused:
            return web.json_response({"error": "cannot"}, status=500)
        return web.json_response({"embedding": vector_of(text, self.model, self.dimension)})


@asynccontextmanager
async def embedding_service() -> AsyncIterator[EmbeddingService]:
    service = EmbeddingService()
    try:
        yield service
    finally:
        await service.close()


async def until(condition: Callable[[], bool]) -> None:
    """Returns once a condition holds; fails after 30 s."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def has_vector(memoryd: Running, memory_id: int, model: str = "first") -> bool:
    """Whether a memory has the vector that a model makes of its text, in the index as in its row."""
    memory = memoryd.engine.store.mirror.get(memory_id)
    indexed = memoryd.engine.store.mirror.retrieval.vectors.vector(memory_id)
    if memory is None or indexed is None or not memory.row.vector:
        return False
    return indexed.tolist() == vector_of(memory.row.text, model) and indexed.tobytes() == memory.row.vector


async def vectors_come_late(folder: Path, backend: str | None) -> None:
    """Stored while the embedder is away, over a restart, filled in when it is back, and kept."""
    async with embedding_service() as service:
        flag = f"--embedder={service.url}"
        async with running(folder, flag, backend=backend) as memoryd:
            for text in ("weber force law", "quantum wave", "77"):
                assert (await memoryd.rpc.remember(text, tags={"run": text})).created
            await memoryd.rpc.recall("weber")
            await memoryd.rpc.connect(1, 2, label="next")
            status = await memoryd.rpc.status()
            assert (status.waiting_vector_count, status.vector_dimension) == (3, 0)
            assert any("stored without a vector" in line for line in status.warnings)
        async with running(folder, flag, backend=backend) as memoryd:
            assert (await memoryd.rpc.status()).waiting_vector_count == 3
            before = [await memoryd.rpc.inspect(number) for number in (1, 2, 3)]
            await service.come_back()
            await memoryd.rpc.remember("muon with momentum")
            await until(lambda: all(has_vector(memoryd, number) for number in (1, 2, 4)))
            assert [has_vector(memoryd, number) for number in (1, 2, 3, 4)] == [True, True, False, True]
            status = await memoryd.rpc.status()
            assert (status.waiting_vector_count, list(status.warnings)) == (0, [])
            for number, old in enumerate(before, start=1):
                new = await memoryd.rpc.inspect(number)
                old.vector_dimension = new.vector_dimension
                assert new == old
            async with memoryd.http.get(f"{memoryd.url}/metrics") as response:
                text = await response.text()
            assert "memoryd_vectors_waiting 0.0" in text
            assert "memoryd_vectors_made_late_total 2.0" in text
        async with running(folder, "--embedder=none", backend=backend) as memoryd:
            assert [has_vector(memoryd, number) for number in (1, 2, 3, 4)] == [True, True, False, True]
            assert await memoryd.engine.store.read_value("vectors/waiting/0") is None
