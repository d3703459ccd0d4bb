"""ferricula's routes about the store as a whole: graph, terms, dreams, clock, identity, heat."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any

from memoryd.characters import clean
from memoryd.dreams.dreaming import Seed
from memoryd.dreams.report_text import dream_text, offer_text
from memoryd.dreams.resonance import ARCHETYPES, tool_tier
from memoryd.dreams.skg import PairState
from memoryd.engine import Engine
from memoryd.entropy_feed import EntropyFeed
from memoryd.graph import ARROWS
from memoryd.http.body import is_unsigned, read_object
from memoryd.http.confer import assess
from memoryd.http.dashboard import dashboard_page
from memoryd.http.layouts import neighbors_text, status_text, terms_text
from memoryd.http.replies import Reply, bare, data, html, refused, result
from memoryd.identity.identity import describe_identity
from memoryd.memory import ID_LIMIT, EdgeKind, unpack_vector
from memoryd.requests import NewMemory
from services.errors import InvalidArgumentError, ServiceError
from services.version import installed_version

ANSWER_SECONDS = 10.0  # as long as ferricula's clients wait


class SystemRoutes:
    def __init__(self, engine: Engine, feed: EntropyFeed) -> None:
        self._engine = engine
        self._feed = feed

    async def status(self) -> Reply:
        engine = self._engine
        return result(status_text(engine.name, engine.store.mirror, engine.heat))

    async def health(self) -> Reply:
        store = self._engine.store
        return data(
            {
                "status": "ok",
                "rows": len(store.mirror),
                "durable": store.last_status.durable,
                "waiting_vectors": self._engine.missing_vectors.waiting,
                "version": installed_version(),
            }
        )

    async def connect(self, body: bytes) -> Reply:
        first, second, given = _pair(body)
        label = given.get("label")
        kind = given.get("kind")
        edge_kind = EdgeKind(kind) if kind in ("causal", "structural") else EdgeKind.SEMANTIC
        name = clean(label) if isinstance(label, str) else "related"
        edge = await self._engine.linking.connect(first, second, name, edge_kind)
        return result(f"connected {first} {ARROWS[edge.kind]} {second} [{edge.label}]")

    async def disconnect(self, body: bytes) -> Reply:
        first, second, _ = _pair(body)
        await self._engine.linking.disconnect(first, second)
        return result(f"disconnected {first} <-> {second}")

    async def neighbors(self, memory_id: int) -> Reply:
        return result(neighbors_text(memory_id, self._engine.store.mirror))

    async def terms(self) -> Reply:
        return result(terms_text(self._engine.store.mirror.terms))

    async def skg(self, term: str | None = None) -> Reply:
        skg = self._engine.dreaming.skg
        if term is not None:
            wanted = term.lower()
            found = [_pair_json(pair) for pair in skg.states() if wanted in (pair.term_a, pair.term_b)]
            return data({"term": term, "edges": found})
        return data(
            {
                "dream_tick": skg.tick,
                "tracked_pairs": len(skg.pairs),
                "top_emerging": [_pair_json(pair) for pair in skg.emerging()],
                "top_decaying": [_pair_json(pair) for pair in skg.decaying()],
            }
        )

    async def dream(self) -> Reply:
        async def run() -> str:
            return dream_text(await self._engine.dreaming.dream(1.0, Seed()))

        return await _within(run())

    async def offer(self, body: bytes) -> Reply:
        text = body.decode("utf-8", "replace").strip()
        if text.startswith("{"):
            given = read_object(body).get("entropy")
            text = given.strip() if isinstance(given, str) else ""
        if not text:
            raise InvalidArgumentError("offer: provide hex-encoded entropy (e.g. 'offer deadbeef')")
        if len(text) % 2 or not re.fullmatch(r"[0-9a-fA-F]+", text):
            raise InvalidArgumentError("offer: invalid hex string")
        entropy = bytes.fromhex(text)

        async def run() -> str:
            report = await self._engine.dreaming.offer(entropy)
            return offer_text(len(entropy), report)

        return await _within(run())

    async def latest_dream(self) -> Reply:
        return result(self._engine.dreaming.latest)

    async def clock(self) -> Reply:
        return result(self._engine.clock_state.describe())

    async def checkpoint(self) -> Reply:
        return result("checkpoint complete")  # every acknowledged change is durable already

    async def identity(self) -> Reply:
        mood = self._engine.recalling.mood
        described = describe_identity(
            self._engine.identity,
            active=mood.active,
            heat=self._engine.heat,
            heated_at=mood.heated_at,
            version=installed_version(),
        )
        return data(described, pretty=True)

    async def inversion(self, memory_id: int) -> Reply:
        def failed(why: str) -> Reply:
            return data({"error": why, "memory_id": memory_id})

        embedder = self._engine.embedder
        if not await embedder.reachable():
            return failed("shivvr not reachable")
        memory = self._engine.store.mirror.get(memory_id)
        if memory is None:
            return failed("no row")
        if "text" not in memory.row.tags:
            return failed("no text tag")
        inverted = await embedder.invert(unpack_vector(memory.row.vector))
        if inverted is None:
            return failed("inversion failed")
        original = memory.row.text
        return data(
            {
                "memory_id": memory_id,
                "original_text": original,
                "inverted_text": inverted,
                "quality": word_overlap(original, inverted),
            }
        )

    async def glossary(self) -> Reply:
        return data({"glossary": [], "count": 0})

    async def tools(self) -> Reply:
        tier = tool_tier(self._engine.heat)
        return data(
            {
                "tier": tier.tier,
                "heat": tier.heat,
                "escalate": tier.escalate,
                "active_tools": list(tier.active_tools),
                "suppressed": list(tier.suppressed),
                "reason": f"heat={tier.heat:.2f}",
            }
        )

    async def confer(self, body: bytes) -> Reply:
        try:
            given = read_object(body)
            text, context = given.get("text"), given.get("context")
            if not isinstance(text, str) or not text:
                return bare("error: confer: 'text' field required")
            assessment = assess(clean(text), clean(context) if isinstance(context, str) else "")
            tags = {
                "channel": "taste",
                "type": "confer",
                "text": clean(text),
                "score": f"{assessment.score:.2f}",
                "flags": ",".join(assessment.flags),
            }
            stored = await self._engine.remembering.remember(
                NewMemory(tags=tags, vector=(), importance=0.3, decay_alpha=0.018)
            )
        except ServiceError as error:
            return bare(f"error: {error.message}")
        notes = [{"archetype": name, "notes": list(assessment.notes.get(name, ()))} for name in ARCHETYPES]
        return data(
            {
                "score": assessment.score,
                "guidance": assessment.guidance,
                "flags": list(assessment.flags),
                "assessments": notes,
                "recommended_tokens": assessment.recommended_tokens,
                "observation_id": stored.memory_id,
            }
        )

    async def dashboard(self) -> Reply:
        return html(dashboard_page(self._engine))


def word_overlap(first: str, second: str) -> float:
    """Jaccard overlap of the words, outer punctuation removed, case kept."""
    one, other = ({word.strip(_PUNCTUATION) for word in text.split()} - {""} for text in (first, second))
    if not one and not other:
        return 1.0
    return len(one & other) / len(one | other) if one and other else 0.0


_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


async def _within(work: Coroutine[Any, Any, str]) -> Reply:
    """The text of a long piece of work, or ferricula's time-out while it goes on."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
    if not done:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return refused("request timed out")
    return result(task.result())


def _pair(body: bytes) -> tuple[int, int, dict[str, Any]]:
    given = read_object(body)
    ids = []
    for name in ("a", "b"):
        value = given.get(name)
        if not isinstance(value, int) or not is_unsigned(value):
            raise InvalidArgumentError(f"missing {name}", field=name)
        if value >= ID_LIMIT:
            raise InvalidArgumentError(f"{name} must be below {ID_LIMIT}, got {value}", field=name)
        ids.append(value)
    return ids[0], ids[1], given


def _pair_json(pair: PairState) -> dict[str, Any]:
    motion = pair.motion
    return {
        "term_a": pair.term_a,
        "term_b": pair.term_b,
        "jaccard": pair.jaccard,
        "velocity": motion.velocity,
        "acceleration": motion.acceleration,
        "weber_bracket": motion.weber_bracket,
        "history_len": len(pair.history),
    }
