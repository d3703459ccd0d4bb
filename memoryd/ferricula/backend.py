"""A remote ferricula, or another memoryd, as the store: over the HTTP API that both serve.

That API gives back no vectors, prints records rounded, and has no transactions, named values or events;
the capabilities say so. Record updates are not sent, except a changed keystone mark.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from memoryd.backend import BackendStatus, BackupResult, Capability, MemoryBackend
from memoryd.ferricula.text import read_counts, read_edges, read_record
from memoryd.memory import Batch, Edge, Event, Memory, Record, Row, State, unpack_vector
from services.errors import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust, explain_https

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 15.0
CONCURRENT_READS = 8


class FerriculaBackend:
    def __init__(self, base_url: str, token: str, *, read_only: bool, trust: HttpsTrust) -> None:
        self._base_url = base_url
        self._trust = trust
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._read_only = read_only
        self._session: Any = None
        self._closed = False
        self._order = asyncio.Lock()
        self._slots = asyncio.Semaphore(CONCURRENT_READS)
        self._ids: list[int] | None = None
        self._edges: list[Edge] | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    async def apply(self, batch: Batch) -> None:
        if self._read_only:
            raise FailedPreconditionError(
                f"the store {self._base_url} was opened read-only", reason="STORE_READ_ONLY"
            )
        async with self._order:
            try:
                for memory_id in batch.deletes:
                    await self._delete(memory_id)
                for memory in batch.puts:
                    await self._result("POST", "/remember", _remember_body(memory))
                for update in batch.updates:
                    await self._set_keystone(update.memory_id, update.record.keystone)
                for first, second in batch.disconnects:
                    await self._result("POST", "/disconnect", {"a": first, "b": second})
                for edge in batch.connects:
                    body = {"a": edge.source, "b": edge.target, "label": edge.label, "kind": edge.kind.value}
                    await self._result("POST", "/connect", body)
            finally:
                self._ids = self._edges = None

    async def scan(self, after_id: int, limit: int) -> list[Memory]:
        if after_id < 0 or self._ids is None:
            self._ids = await self._list_ids()
        page = [memory_id for memory_id in self._ids if memory_id > after_id][:limit]
        found = await asyncio.gather(*(self._read_memory(memory_id) for memory_id in page))
        return [memory for memory in found if memory is not None]

    async def scan_edges(self, after_pair: tuple[int, int], limit: int) -> list[Edge]:
        if after_pair < (0, 0) or self._edges is None:
            self._edges = await self._list_edges()
        return [edge for edge in self._edges if edge.pair > after_pair][:limit]

    async def read_value(self, name: str) -> str | None:
        return None

    async def read_events(self, after_sequence: int, limit: int) -> list[Event]:
        return []

    async def status(self) -> BackendStatus:
        text = await self._result("GET", "/status")
        try:
            rows, edges = read_counts(text)
            highest = int((await self._call("GET", "/maxid"))["maxid"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_understood("/status", error) from error
        warnings = ["the remote store is read-only here"] if self._read_only else []
        place = f"ferricula:{self._base_url}"
        # What the remote syncs is not known here: another memoryd syncs all, a ferricula not recalls.
        return BackendStatus(place, rows, edges, highest, 0, tuple(warnings), durable=False)

    async def backup(self, path: Path) -> BackupResult:
        raise UnsupportedError(
            "a remote ferricula cannot be backed up from here; back it up on its own host, or move it with "
            "`memoryd migrate`",
            reason="CAPABILITY_MISSING",
        )

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _read_memory(self, memory_id: int) -> Memory | None:
        """One memory, or None when it went away since it was listed."""
        row = await self._call("GET", f"/get/{memory_id}", may_fail=True)
        text = await self._result("GET", f"/inspect/{memory_id}", may_fail=True)
        if not isinstance(row, dict):
            return None
        try:
            tags = {str(name): str(value) for name, value in row["tags"].items()}
            if text.startswith("error:"):  # a row whose record was pruned
                return Memory(Row(memory_id, tags), Record(0, 0, fidelity=0.0, state=State.PRUNED))
            return Memory(Row(memory_id, tags), read_record(text))
        except (KeyError, AttributeError, ValueError) as error:
            raise self._not_understood(f"/get/{memory_id}", error) from error

    async def _list_ids(self) -> list[int]:
        answers = [
            await self._call("POST", "/query", "SELECT id FROM docs"),
            await self._call("POST", "/query", "SELECT id FROM docs WHERE state = 'Pruned'"),
        ]
        try:
            return sorted({int(row["id"]) for answer in answers for row in answer["rows"]})
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_understood("/query (ferricula 0.9 or newer is needed)", error) from error

    async def _list_edges(self) -> list[Edge]:
        ids = self._ids if self._ids is not None else await self._list_ids()
        texts = await asyncio.gather(*(self._result("GET", f"/neighbors/{one}") for one in ids))
        found: dict[tuple[int, int], Edge] = {}
        for memory_id, text in zip(ids, texts, strict=True):
            for edge in read_edges(memory_id, text):
                found.setdefault(edge.pair, edge)
        return [found[pair] for pair in sorted(found)]

    async def _delete(self, memory_id: int) -> None:
        answer = await self._call("DELETE", f"/delete/{memory_id}")
        if isinstance(answer, dict) and answer.get("deleted") is True:
            return
        # Edges may hang on an id that no row has; deleting it must take them too.
        for edge in read_edges(memory_id, await self._result("GET", f"/neighbors/{memory_id}")):
            await self._result("POST", "/disconnect", {"a": edge.source, "b": edge.target})

    async def _set_keystone(self, memory_id: int, keystone: bool) -> None:
        text = await self._result("GET", f"/inspect/{memory_id}", may_fail=True)
        if not text.startswith("error:") and read_record(text).keystone != keystone:
            await self._result("POST", f"/keystone/{memory_id}")

    async def _result(self, method: str, path: str, body: object = None, *, may_fail: bool = False) -> str:
        """The text of an answer. Raises the error that it tells of unless `may_fail`."""
        answer = await self._call(method, path, body, may_fail=may_fail)
        text = answer.get("result") if isinstance(answer, dict) else answer
        if not isinstance(text, str):
            raise self._not_understood(path, ValueError(str(answer)[:80]))
        if text.startswith("error:") and not may_fail:
            raise self._refused(path, text)
        return text

    async def _call(self, method: str, path: str, body: object = None, *, may_fail: bool = False) -> Any:
        """The JSON of an answer, or the bare text of a failure when `may_fail`."""
        import aiohttp

        if self._closed:
            raise UnavailableError("the store is closed", reason="STORE_UNREACHABLE")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        try:
            async with (
                self._slots,
                self._session.request(method, self._base_url + path, data=data, ssl=self._trust) as response,
            ):
                status, text = response.status, await response.text(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            what = explain_https(error, self._base_url) or str(error) or f"no answer in {ANSWER_SECONDS:g} s"
            raise UnavailableError(
                f"the remote store {self._base_url} cannot be reached: {what}", reason="STORE_UNREACHABLE"
            ) from error
        if status in (401, 403):
            raise UnauthenticatedError(
                f"the remote store {self._base_url} wants a token: write ferricula+http://:TOKEN@HOST:PORT"
            )
        try:
            answer = json.loads(text)
        except ValueError as error:
            if may_fail:
                return text
            if text.startswith("error:"):
                raise self._refused(path, text) from error
            raise self._not_understood(path, error) from error
        if status != 200:
            raise self._refused(path, str(answer)[:200])
        return answer

    def _refused(self, path: str, text: str) -> InvalidArgumentError | UnavailableError:
        message = f"the remote store {self._base_url} refused {path}: {text[:300]}"
        if "dimension mismatch" in text:
            return InvalidArgumentError(message, field="vector", reason="DIMENSION_MISMATCH")
        return UnavailableError(message, reason="STORE_UNREACHABLE")

    def _not_understood(self, path: str, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"{self._base_url}{path} does not answer as a ferricula: {error}", reason="STORE_UNREACHABLE"
        )


def _remember_body(memory: Memory) -> dict[str, object]:
    record = memory.record
    body: dict[str, object] = {
        "id": memory.memory_id,
        "tags": dict(memory.row.tags),
        "vector": list(unpack_vector(memory.row.vector)),
        "importance": record.importance,
        "keystone": record.keystone,
        "decay_alpha": record.decay_alpha,
    }
    if record.emotion is not None:
        secondary = record.emotion.secondary
        body["emotion"] = {
            "primary": record.emotion.primary,
            **({"secondary": secondary} if secondary else {}),
        }
    return body


def split_url(url: str) -> tuple[str, str]:
    """Base URL and token of ferricula+http://[:TOKEN@]HOST:PORT. Raises ConfigurationError."""
    parts = urlsplit(url)
    try:
        port: int | None = parts.port or 8765
    except ValueError:
        port = None
    if not parts.hostname or parts.path not in ("", "/") or parts.query or port is None:
        raise ConfigurationError(
            f"--backend: {parts.scheme}://… is not ferricula+http://HOST:PORT (port 8765 if left out)"
        )
    scheme = parts.scheme.removeprefix("ferricula+")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{port}", unquote(parts.password or parts.username or "")


async def open_ferricula(
    url: str, *, read_only: bool = False, trust: HttpsTrust = SYSTEM_TRUST
) -> FerriculaBackend:
    """Opens a remote store. Raises ConfigurationError for a wrong URL, UnavailableError without an answer."""
    base_url, token = split_url(url)
    backend = FerriculaBackend(base_url, token, read_only=read_only, trust=trust)
    try:
        await backend.status()
    except BaseException:
        await backend.close()
        raise
    return backend


_: type[MemoryBackend] = FerriculaBackend
