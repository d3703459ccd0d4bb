"""Runs dreams: takes the snapshot, plans in a thread, applies in small steps, one dream at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

from memoryd.backend import Capability
from memoryd.collector import collector_at_rest
from memoryd.dreams.dream import DreamInput, DreamSettings, plan_dream
from memoryd.dreams.echoes import find_echoes
from memoryd.dreams.plan import DreamPlan, DreamReport
from memoryd.dreams.plan_log import PlanLog
from memoryd.dreams.pruning import fading
from memoryd.dreams.report_text import dream_text, offer_text
from memoryd.dreams.resonance import HEAT_PER_DREAM
from memoryd.dreams.similar import SimilarPairs
from memoryd.dreams.skg import TRACKED_TERMS, Skg
from memoryd.embedding.embedder import Embedder
from memoryd.finishing import finish
from memoryd.graph import Graph
from memoryd.memory import Edge, Memory, Row, is_still
from memoryd.recalling import Recalling
from memoryd.store import Store
from services.errors import InvalidArgumentError, UnsupportedError

FULL_ENTROPY = 64  # bytes that give intensity 1
ENTROPY_LIMIT = 64 * 1024
NO_DREAMS = "no dreams yet"


@dataclass(frozen=True)
class Seed:
    """Bytes for a dream and their origin: "radio", "os", "remote", "file", "mixed", "caller" or "none"."""

    data: bytes = b""
    source: str = "none"


@dataclass(frozen=True)
class _Snapshot:
    memories: list[Memory]
    edges: list[Edge]
    terms: Mapping[str, Set[int]]
    skg: Skg
    echoes: Mapping[int, str | None]
    intensity: float
    seed: Seed
    now: int


class Dreaming:
    def __init__(
        self,
        store: Store,
        recalling: Recalling,
        embedder: Embedder,
        *,
        settings: DreamSettings | None = None,
    ) -> None:
        self._store = store
        self._recalling = recalling
        self._embedder = embedder
        self._settings = settings or DreamSettings()
        self._log = PlanLog(store)
        self._similar = SimilarPairs()
        self._lock = asyncio.Lock()
        self.skg = Skg()
        self.latest = NO_DREAMS

    async def load(self) -> int:
        """Reads the SKG and the last report; finishes an interrupted dream. Answers the pieces it applied."""
        self.skg = Skg.from_json(await self._store.read_value("skg"))
        self.latest = await self._store.read_value("dream/latest") or NO_DREAMS
        return await self._log.recover()

    async def dream(self, intensity: float = 1.0, seed: Seed | None = None) -> DreamReport:
        """One dream cycle, durable when this returns. Without a seed the selection is by prefix.

        Raises InvalidArgumentError, UnsupportedError (CAPABILITY_MISSING) and the backend's errors.
        """
        if not 0.0 <= intensity <= 1.0:
            raise InvalidArgumentError(f"intensity: {intensity} is not within 0..1", field="intensity")
        return await self._dream(intensity, seed or Seed(), dream_text)

    async def offer(self, entropy: bytes, source: str = "caller") -> DreamReport:
        """Dreams with the intensity and the seed that `entropy` gives.

        Raises InvalidArgumentError (INVALID_ENTROPY) for none or too much.
        """
        if not 0 < len(entropy) <= ENTROPY_LIMIT:
            raise InvalidArgumentError(
                f"entropy: {len(entropy)} bytes; give 1 to {ENTROPY_LIMIT}",
                field="entropy",
                reason="INVALID_ENTROPY",
            )
        intensity = min(1.0, len(entropy) / FULL_ENTROPY)
        size = len(entropy)
        return await self._dream(intensity, Seed(entropy, source), lambda report: offer_text(size, report))

    async def _dream(self, intensity: float, seed: Seed, layout: Callable[[DreamReport], str]) -> DreamReport:
        if not self._store.can(Capability.RECORDS):
            raise UnsupportedError(
                "this backend cannot store what a dream changes; dream on the remote store itself",
                reason="CAPABILITY_MISSING",
            )
        # A caller that gives up must not stop a dream half way.
        return await finish(self._cycle(intensity, seed, layout))

    async def _cycle(self, intensity: float, seed: Seed, layout: Callable[[DreamReport], str]) -> DreamReport:
        async with self._lock:
            with collector_at_rest():
                return await self._cycle_at_rest(intensity, seed, layout)

    async def _cycle_at_rest(
        self, intensity: float, seed: Seed, layout: Callable[[DreamReport], str]
    ) -> DreamReport:
        await self._log.recover()  # of a dream that a full disk stopped half way
        echoes = await self._echoes()
        terms = await self._keystone_terms()
        mirror, now = self._store.mirror, self._store.seconds
        given = _Snapshot(
            mirror.snapshot(), list(mirror.graph), terms, self.skg, echoes, intensity, seed, now
        )

        def work() -> tuple[DreamPlan, str, dict[int, Row]]:
            plan, rows = self._plan(given), {memory.memory_id: memory.row for memory in given.memories}
            return plan, layout(plan.report), {one: rows[one] for one in plan.touched() if one in rows}

        plan, text, rows = await asyncio.to_thread(work)
        report = plan.report
        mood = self._recalling.mood.warmed(HEAT_PER_DREAM, self._store.now())
        self._recalling.mood = replace(mood, active=report.active_archetypes)
        values = {
            "skg": plan.skg.to_json(),
            "mood": self._recalling.mood.to_json(),
            "dream/latest": text,
        }
        detail = f"intensity={intensity:.2f} seed={seed.data[:64].hex()} source={seed.source}"
        await self._store.settled(rows)
        await self._log.apply(plan.without(self._replaced(rows)), values, detail, rows)
        self.skg, self.latest = plan.skg, text
        self._warn(self._similar.waiting)
        return report

    def _plan(self, given: _Snapshot) -> DreamPlan:
        """In a thread: everything here works on values that nobody else changes."""
        memories = sorted(given.memories, key=lambda memory: memory.memory_id)
        graph = Graph()
        for edge in given.edges:
            graph.connect(edge)
        return plan_dream(
            DreamInput(
                {memory.memory_id: memory.record for memory in memories},
                graph,
                self._similar.update(memories),
                self._similar.cosine,
                given.terms,
                given.skg,
                given.intensity,
                given.seed.data,
                given.seed.source,
                given.now,
                self._settings,
                given.echoes,
            )
        )

    def _replaced(self, rows: Mapping[int, Row]) -> set[int]:
        """Which memories were stored anew or removed since they had these rows: no plan is about them."""
        get = self._store.mirror.get
        return {one for one, row in rows.items() if not is_still(row, get(one))}

    def _warn(self, waiting: int) -> None:
        if waiting:
            self._store.warnings["dream"] = f"{waiting} memories wait to be compared in the next dreams"
        else:
            self._store.warnings.pop("dream", None)

    async def _echoes(self) -> dict[int, str | None]:
        """What is left of the memories that this dream may prune."""
        mirror = self._store.mirror
        memories = mirror.snapshot()
        ids = await asyncio.to_thread(fading, ((memory.memory_id, memory.record) for memory in memories))
        found = [memory for memory_id in ids if (memory := mirror.get(memory_id)) is not None]
        return await find_echoes(self._embedder, found)

    async def _keystone_terms(self) -> dict[str, Set[int]]:
        """The twenty terms with most members among those that a keystone holds."""
        terms = self._store.mirror.terms
        names: dict[str, None] = {}
        for keystone in sorted(self._store.mirror.keystones):
            names.update(dict.fromkeys(terms.terms_of(keystone)))
        common = sorted(names, key=lambda term: (-terms.size(term), term))[:TRACKED_TERMS]
        members: dict[str, Set[int]] = {}
        for term in common:
            members[term] = terms.members(term)
            await asyncio.sleep(0)
        return members
