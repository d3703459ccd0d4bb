"""The engine's core: the mirror in memory, the backend under it, and the one way in which both change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from memoryd.backend import BackendStatus, BackupResult, Capability, MemoryBackend
from memoryd.dimension import Dimension
from memoryd.finishing import finish
from memoryd.index_file import WORTH_WRITING, IndexFile
from memoryd.memory import ID_LIMIT, Batch, Event, RecordUpdate
from memoryd.mirror import Mirror
from services.errors import AlreadyExistsError, InvalidArgumentError, ServiceError, UnsupportedError

PAGE = 1000
EVENTS_IN_MEMORY = 2000
STATUS_SECONDS = 60.0
log = logging.getLogger("memoryd")


class Store:
    """Reads go to the mirror; `commit` makes a batch durable and then visible.

    Record updates are made visible first, so that two of the same memory build on each other; they are
    taken back from the backend when the batch fails.
    """

    def __init__(self, backend: MemoryBackend, *, now: Callable[[], float] = time.time) -> None:
        self.backend = backend
        self.mirror = Mirror()
        self.dimension = Dimension(self.mirror)
        self.now = now
        self.failed: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()
        self.warnings: dict[str, str] = {}
        self.last_status = BackendStatus("", 0, 0, 0, 0)
        self.on_first_memory: Callable[[], None] = lambda: None
        self._holds_memories = False
        self._sequence = 0
        self._shown_sequence = 0  # of the newest event that watchers can see
        self._highest_id = 0
        self._next_low = 0  # where to look for a free id once the highest one is used; 0: not begun
        self._events: deque[Event] = deque(maxlen=EVENTS_IN_MEMORY)
        self._news = asyncio.Event()
        self._values: dict[str, str | None] = {}
        self._ended = False
        self._copying: set[Path] = set()
        self._replacing: dict[int, asyncio.Future[None]] = {}

    @property
    def seconds(self) -> int:
        """The clock in whole seconds since 1970."""
        return int(self.now())

    def can(self, capability: Capability) -> bool:
        return capability in self.backend.capabilities

    async def load(self, index_file: IndexFile | None = None) -> None:
        """Reads the whole store into the mirror. Raises the backend's errors."""
        index_file = index_file or IndexFile()
        snapshot = index_file.read()
        if snapshot is not None:
            self.mirror.prepare(snapshot)
        last = -1
        while page := await self.backend.scan(last, PAGE):
            for memory in page:
                try:
                    self.mirror.put(memory)
                except ValueError as error:
                    self.mirror.put(replace(memory, row=replace(memory.row, vector=b"")))
                    self.warnings["dimension"] = f"memory {memory.memory_id}: {error}; its vector is not used"
            last = page[-1].memory_id
            await asyncio.sleep(0)
        if self.mirror.finish_loading() >= WORTH_WRITING and index_file.wanted:
            index_file.write(self.mirror.snapshot_of_terms())
        pair = (-1, -1)
        while edges := await self.backend.scan_edges(pair, PAGE):
            self.mirror.connect(edges)
            pair = edges[-1].pair
        status = await self.status()
        self._sequence = self._shown_sequence = status.last_sequence
        self._highest_id = max(status.highest_id, self.mirror.highest_id)

    def allocate_id(self) -> int:
        """A fresh id above every one ever used; a free one from below once a client has used the last one.

        Its memory must be committed before anything else waits.
        """
        if self._highest_id < ID_LIMIT - 1:
            self._highest_id += 1
            return self._highest_id
        if self._next_low == 0:
            self._next_low = max((known for known in self.mirror.ids() if known < 2**31), default=0)
        while True:
            self._next_low = self._next_low % (ID_LIMIT - 1) + 1
            if self._next_low not in self.mirror and self._next_low not in self._replacing:
                return self._next_low

    def note_id(self, memory_id: int) -> None:
        """Tells of an id that a client chose."""
        self._highest_id = max(self._highest_id, memory_id)

    async def settled(self, memory_ids: Iterable[int]) -> None:
        """Waits while one of the memories is being replaced or removed.

        Whoever computes an update from the mirror calls this first, and commits before it waits again:
        otherwise the record of the replaced memory would come back.
        """
        wanted = tuple(memory_ids)
        while waiting := {self._replacing[found] for found in wanted if found in self._replacing}:
            await asyncio.wait(waiting)

    def event(self, kind: str, ids: tuple[int, ...] = (), detail: str = "") -> Event:
        """The next event; it must be committed before anything else waits or commits."""
        self._sequence += 1
        return Event(self._sequence, int(self.now() * 1000), kind, ids, detail[:500])

    async def commit(self, batch: Batch, kind: str = "", ids: tuple[int, ...] = (), detail: str = "") -> None:
        """Makes a batch durable, then visible, and tells the watchers; goes on when the caller is cancelled.

        Raises the backend's errors.
        """
        if kind:
            batch = replace(batch, events=(*batch.events, self.event(kind, ids, detail)))
        self.show_updates(batch.updates)
        replaced = (*batch.deletes, *(memory.memory_id for memory in batch.puts))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._replacing.update(dict.fromkeys(replaced, done))
        await finish(self._make_durable(batch, replaced, done))

    async def _make_durable(
        self, batch: Batch, replaced: tuple[int, ...], done: asyncio.Future[None]
    ) -> None:
        try:
            await self.backend.apply(batch)
            self._show(batch)
        except ServiceError as error:
            if error.reason == "STORE_FAILED" and not self.failed.done():
                self.failed.set_result(error)
            await self._take_back(batch)
            raise
        finally:
            done.set_result(None)
            for memory_id in replaced:
                if self._replacing.get(memory_id) is done:
                    del self._replacing[memory_id]

    def _show(self, batch: Batch) -> None:
        for memory_id in batch.deletes:
            self.mirror.remove(memory_id)
        for memory in batch.puts:
            self.mirror.put(memory)
        if batch.puts and not self._holds_memories:
            self._holds_memories = True
            self.on_first_memory()
        for first, second in batch.disconnects:
            self.mirror.graph.disconnect(first, second)
        self.mirror.connect(batch.connects)
        if not self.can(Capability.VALUES):
            self._values.update(batch.values)
        self._events.extend(batch.events)
        self._shown_sequence = max((self._shown_sequence, *(event.sequence for event in batch.events)))
        news, self._news = self._news, asyncio.Event()
        news.set()

    def show_updates(self, updates: tuple[RecordUpdate, ...]) -> None:
        for update in updates:
            self.mirror.update(update.memory_id, update.record)

    async def _take_back(self, batch: Batch) -> None:
        """Shows what is stored where the failed batch is what is shown; later ones have built on it."""
        try:
            for update in batch.updates[:PAGE]:
                stored = await self.backend.scan(update.memory_id - 1, 1)
                shown = self.mirror.get(update.memory_id)
                if shown is None or shown.record is not update.record:
                    continue
                if stored and stored[0].memory_id == update.memory_id:
                    self.mirror.update(update.memory_id, stored[0].record)
        except ServiceError as error:
            self.warnings["take_back"] = f"after a failed write the store cannot be read: {error}"

    async def read_value(self, name: str) -> str | None:
        """A named value; kept in memory only where the backend cannot store it."""
        if self.can(Capability.VALUES):
            return await self.backend.read_value(name)
        return self._values.get(name)

    async def write_values(self, values: Mapping[str, str | None]) -> None:
        await self.commit(Batch(values=values))

    async def events(self, after_sequence: int) -> AsyncIterator[Event]:
        """Every kept event after a sequence, then the new ones; 0 starts with the next one.

        Ends when the daemon does.
        """
        after = after_sequence or self._shown_sequence
        while not self._ended:
            news = self._news
            if self._events and self._events[0].sequence <= after + 1:
                page = [event for event in self._events if event.sequence > after]
            elif self.can(Capability.EVENTS):
                page = await self.backend.read_events(after, PAGE)
            else:
                page = [event for event in self._events if event.sequence > after]
            for event in page:
                after = event.sequence
                yield event
            if not page:
                await news.wait()

    def end_watches(self) -> None:
        """Lets every running `events` end, so that a drain need not wait for them."""
        self._ended = True
        self._news.set()

    async def status(self) -> BackendStatus:
        """What the backend says of itself now; a warning that is new goes to the log."""
        known, self.last_status = self.last_status.warnings, await self.backend.status()
        for warning in self.last_status.warnings:
            if warning not in known:
                log.warning("%s", warning)
        return self.last_status

    async def watch_backend(self, seconds: float = STATUS_SECONDS) -> None:
        """Asks now and then, so that `last_status` tells of a server whose settings were changed."""
        while True:
            await asyncio.sleep(seconds)
            with contextlib.suppress(ServiceError):
                await self.status()

    async def backup(self, path: str) -> BackupResult:
        """Writes a copy of the store.

        Raises UnsupportedError where the backend cannot, AlreadyExistsError (PATH_EXISTS) for a file that is
        there or just being written, and InvalidArgumentError for one that cannot be.
        """
        if not self.can(Capability.BACKUP):
            raise UnsupportedError(
                "this backend cannot write a backup; use the server's own tools or `memoryd migrate`",
                reason="CAPABILITY_MISSING",
            )
        target = Path(path)
        if target in self._copying:
            raise AlreadyExistsError(f"path: {path} is being written; wait for it", reason="PATH_EXISTS")
        self._copying.add(target)
        try:
            await asyncio.to_thread(_demand_writable, target)
            return await self.backend.backup(target)
        finally:
            self._copying.discard(target)


def _demand_writable(target: Path) -> None:
    if os.path.lexists(target):
        return  # the backend says so
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(target.name + ".partial").touch()
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(
            f"path: cannot write {str(target)!r}: {getattr(error, 'strerror', None) or error}; "
            "it names a file on the daemon's host",
            field="path",
        ) from error
