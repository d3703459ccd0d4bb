"""The parts of memoryd put together: what both APIs call."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from memoryd.backend import Capability, MemoryBackend
from memoryd.clock import Clock, ClockState
from memoryd.collector import collector_at_rest
from memoryd.dreams.dream import DreamSettings
from memoryd.dreams.dreaming import Dreaming
from memoryd.dreams.resonance import Resonance
from memoryd.embedding.embedder import Embedder
from memoryd.entropy_feed import EntropyFeed, FirstFeed
from memoryd.identity.identity import Identity, make_identity, read_identity
from memoryd.index_file import IndexFile
from memoryd.linking import Linking
from memoryd.missing_vectors import MissingVectors
from memoryd.querying import Querying
from memoryd.recalling import Recalling
from memoryd.remembering import Remembering
from memoryd.store import Store
from services.errors import FailedPreconditionError, ResourceExhaustedError

WITHOUT = {
    Capability.ATOMIC: "a change may be stored in part",
    Capability.VECTORS: "vectors are not given back and are made anew by the embedder at every start",
    Capability.RECORDS: "recalls count only until the daemon ends, and it cannot dream",
    Capability.VALUES: "identity, heat and idempotency keys last only until the daemon ends",
    Capability.EVENTS: "events are kept only in memory",
    Capability.BACKUP: "no backup can be written",
}
WORDS_ONLY = "vectors are not given back, and there is no embedder to make them anew: found by words only"


@dataclass(frozen=True)
class EngineSettings:
    """`agent_name` stands before the identity's own name in the status."""

    resonance: Resonance = Resonance.LIFECYCLE
    agent_name: str = ""
    dream: DreamSettings = field(default_factory=DreamSettings)
    tick_seconds: float = 60.0
    threshold_bytes: int = 16


@dataclass(frozen=True)
class Engine:
    """One store with everything that can be done to it."""

    store: Store
    embedder: Embedder
    remembering: Remembering
    recalling: Recalling
    querying: Querying
    linking: Linking
    dreaming: Dreaming
    clock: Clock
    identity: Identity
    missing_vectors: MissingVectors
    agent_name: str = ""

    @property
    def name(self) -> str:
        name = f"{self.agent_name} ({self.identity.name})" if self.agent_name else self.identity.name
        # Clients take the word in the first line of the status for a failure.
        return name.replace("error", "err0r").replace("\n", " ")

    @property
    def heat(self) -> float:
        return self.recalling.mood.heat_at(self.store.now())

    @property
    def clock_state(self) -> ClockState:
        return self.clock.state


async def open_engine(
    backend: MemoryBackend,
    embedder: Embedder,
    settings: EngineSettings | None = None,
    *,
    feed: EntropyFeed | None = None,
    index_file: IndexFile | None = None,
    now: Callable[[], float] = time.time,
) -> Engine:
    """Loads the store and finishes what a crash interrupted. Raises the backend's errors."""
    settings = settings or EngineSettings()
    store = Store(backend, now=now)
    missing = [text for capability, text in WITHOUT.items() if not store.can(capability)]
    if embedder.name == "none":
        missing = [WORDS_ONLY if text == WITHOUT[Capability.VECTORS] else text for text in missing]
    if missing:
        store.warnings["capabilities"] = "this backend cannot do all: " + "; ".join(missing)
    with collector_at_rest():
        await store.load(index_file)
        vectors = MissingVectors(store, embedder)
        await vectors.load()
        if not store.can(Capability.VECTORS):
            await vectors.make()
    recalling = Recalling(store, embedder)
    dreaming = Dreaming(store, recalling, embedder, settings=settings.dream)
    await recalling.load()
    try:
        await dreaming.load()
    except (FailedPreconditionError, ResourceExhaustedError) as error:
        store.warnings["dream"] = f"an interrupted dream could not be finished: {error}"
    clock = Clock(
        store,
        dreaming,
        feed or FirstFeed(),
        tick_seconds=settings.tick_seconds,
        threshold_bytes=settings.threshold_bytes,
    )
    await clock.load()
    return Engine(
        store,
        embedder,
        Remembering(store, embedder, vectors),
        recalling,
        Querying(store, recalling, embedder, settings.resonance),
        Linking(store),
        dreaming,
        clock,
        await _identity(store),
        vectors,
        settings.agent_name,
    )


async def _identity(store: Store) -> Identity:
    text = await store.read_value("identity")
    if text is not None:
        return read_identity(text)
    identity = make_identity(int(store.now() * 1_000_000_000))
    try:
        await store.write_values({"identity": identity.to_json()})
    except (FailedPreconditionError, ResourceExhaustedError) as error:
        store.warnings["identity"] = f"the identity could not be stored: {error}"
    return identity
