"""A whole memoryd in this process, on real sockets, and a small ferricula client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from memoryd.daemon import Daemon
from memoryd.engine import Engine
from memoryd.settings import MemorydSettings
from services.memory_client import MemoryClient
from services.security import ClientSecurity
from services.settings import load_settings


@dataclass
class Running:
    """`rpc` and `http` talk to the daemon over its sockets; `engine` is there for its clock and settings."""

    engine: Engine
    rpc: MemoryClient
    url: str
    http: aiohttp.ClientSession
    mcp_url: str = ""

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """Status and text. Objects go as JSON, text and bytes as they are."""
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        url = URL(f"{self.url}{path}", encoded=True)
        async with self.http.request(method, url, data=data, headers=headers) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            return response.status, (await response.read()).decode()

    async def text(self, method: str, path: str, body: object = None) -> str:
        """The `result` string of a 200 answer."""
        status, text = await self.send(method, path, body)
        assert status == 200
        result = json.loads(text)["result"]
        assert isinstance(result, str)
        return result

    async def data(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of a 200 answer."""
        status, text = await self.send(method, path, body)
        assert status == 200
        return json.loads(text)


@asynccontextmanager
async def running(folder: Path, *flags: str, backend: str | None = None) -> AsyncIterator[Running]:
    """A daemon over a SQLite store in `folder`, without embedder and clock unless the flags say otherwise."""
    chosen = backend or f"sqlite:///{folder / 'memory.db'}"
    defaults = {"--backend": chosen, "--embedder": "none", "--clock-tick-seconds": "0"}
    arguments = [f"--listen={'127.0.0.1:0'}", "--http-listen=127.0.0.1:0", *flags]
    for name, value in defaults.items():
        if not any(flag.startswith(f"{name}=") for flag in flags):
            arguments.append(f"{name}={value}")
    settings = load_settings(MemorydSettings, arguments, environment={})
    async with Daemon(settings) as daemon, aiohttp.ClientSession() as http:
        token = settings.token.get_secret_value() if settings.token else None
        async with MemoryClient(str(daemon.grpc_address), security=ClientSecurity(token=token)) as rpc:
            mcp_url = f"http://{daemon.mcp_address}/mcp" if daemon.mcp_address else ""
            yield Running(daemon.engine, rpc, f"http://{daemon.http_address}", http, mcp_url)
