"""MemoryService over the engine. Only translates; raises ServiceErrors, which the server maps to statuses."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator

import grpc
from autoresearch.memory.v1 import memory_pb2 as pb
from autoresearch.memory.v1 import memory_pb2_grpc as rpc

from memoryd import wire
from memoryd.dreams.dreaming import Seed
from memoryd.dreams.report_text import dream_text
from memoryd.engine import Engine
from memoryd.entropy_feed import EntropyFeed
from memoryd.identity.identity import describe_identity
from memoryd.memory import Memory
from memoryd.remembering import not_found
from memoryd.requests import RecallQuery
from services.errors import InvalidArgumentError
from services.version import installed_version

SERVICE_NAME = "autoresearch.memory.v1.MemoryService"
SEED_BYTES = 64
PAGE_BYTES = 3 * 1024 * 1024  # a message holds 4 MiB
Context = grpc.aio.ServicerContext[object, object]


class MemoryServicer(rpc.MemoryServiceServicer):
    def __init__(self, engine: Engine, feed: EntropyFeed) -> None:
        self._engine = engine
        self._feed = feed

    async def Remember(self, request: pb.RememberRequest, context: Context) -> pb.RememberResponse:
        stored = await self._engine.remembering.remember(wire.new_memory(request))
        return pb.RememberResponse(
            memory_id=stored.memory_id,
            created=stored.created,
            duplicate_ids=stored.duplicate_ids[:100],
            term_count=stored.term_count,
        )

    async def Recall(self, request: pb.RecallRequest, context: Context) -> pb.RecallResponse:
        recalled = await self._engine.recalling.recall(
            RecallQuery(
                request.text,
                tuple(request.vector),
                dict(request.tags),
                request.limit or 10,
                wire.read_states(request.states),
                request.minimum_score,
            )
        )
        return pb.RecallResponse(
            memories=_within_message([wire.hit_message(hit) for hit in recalled.memories]),
            candidate_count=recalled.candidate_count,
            embedder=self._engine.embedder.name,
        )

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        if not request.text.strip():
            raise InvalidArgumentError("text: is empty", field="text", reason="INVALID_QUERY")
        limit = request.limit or 10
        if not 1 <= limit <= 1000:
            raise InvalidArgumentError(f"limit: {limit} is not within 1..1000", field="limit")
        if not 0.0 <= request.vector_weight <= 1.0:
            raise InvalidArgumentError(
                f"vector_weight: {request.vector_weight} is not within 0..1", field="vector_weight"
            )
        recalling = self._engine.recalling
        if request.vector_weight > 0:
            hits = await recalling.hybrid(request.text, limit, request.vector_weight)
        else:
            hits = recalling.search(request.text, limit)
        return pb.SearchResponse(memories=_within_message([wire.hit_message(hit) for hit in hits]))

    async def Forget(self, request: pb.ForgetRequest, context: Context) -> pb.ForgetResponse:
        await self._engine.remembering.forget(request.memory_id)
        return pb.ForgetResponse()

    async def Connect(self, request: pb.ConnectRequest, context: Context) -> pb.ConnectResponse:
        edge = await self._engine.linking.connect(
            request.from_memory_id,
            request.to_memory_id,
            request.label or "related",
            wire.read_kind(request.kind),
        )
        return pb.ConnectResponse(edge=wire.edge_message(edge))

    async def Disconnect(self, request: pb.DisconnectRequest, context: Context) -> pb.DisconnectResponse:
        removed = await self._engine.linking.disconnect(request.first_memory_id, request.second_memory_id)
        return pb.DisconnectResponse(removed=removed)

    async def ListNeighbors(
        self, request: pb.ListNeighborsRequest, context: Context
    ) -> pb.ListNeighborsResponse:
        graph = self._engine.store.mirror.graph
        return pb.ListNeighborsResponse(
            edges=map(wire.edge_message, graph.neighbors(request.memory_id).values()),
            causal_predecessors=map(wire.edge_message, graph.predecessors(request.memory_id).values()),
        )

    async def InspectMemory(
        self, request: pb.InspectMemoryRequest, context: Context
    ) -> pb.InspectMemoryResponse:
        memory = self._engine.store.mirror.get(request.memory_id)
        if memory is None:
            raise not_found(request.memory_id)
        return pb.InspectMemoryResponse(memory=wire.memory_message(memory))

    async def ListMemories(
        self, request: pb.ListMemoriesRequest, context: Context
    ) -> pb.ListMemoriesResponse:
        size = request.page_size or 50
        if not 1 <= size <= 500:
            raise InvalidArgumentError(f"page_size: {size} is not within 1..500", field="page_size")
        after = read_page_token(request.page_token)
        page: list[pb.Memory] = []
        total = 0
        wanted = dict(request.tags)
        for memory in self._engine.store.mirror.memories(after):
            if not _has_tags(memory, wanted):
                continue
            message = wire.memory_message(memory)
            total += message.ByteSize()
            if len(page) == size or (page and total > PAGE_BYTES):
                token = write_page_token(page[-1].memory_id)
                return pb.ListMemoriesResponse(memories=page, next_page_token=token)
            page.append(message)
        return pb.ListMemoriesResponse(memories=page)

    async def SetKeystone(self, request: pb.SetKeystoneRequest, context: Context) -> pb.SetKeystoneResponse:
        memory = await self._engine.linking.set_keystone(request.memory_id, request.keystone)
        return pb.SetKeystoneResponse(memory=wire.memory_message(memory))

    async def Dream(self, request: pb.DreamRequest, context: Context) -> pb.DreamResponse:
        intensity = request.intensity if request.HasField("intensity") else 1.0
        if request.seed:
            seed = Seed(request.seed, "caller")
        else:
            deposit = await self._feed.fetch(SEED_BYTES)
            seed = Seed(deposit.data, deposit.source) if deposit else Seed()
        report = await self._engine.dreaming.dream(intensity, seed)
        return pb.DreamResponse(report=wire.report_message(report, dream_text(report)))

    async def OfferEntropy(
        self, request: pb.OfferEntropyRequest, context: Context
    ) -> pb.OfferEntropyResponse:
        source = request.source[:200] or "caller"
        report = await self._engine.dreaming.offer(request.entropy, source)
        text = self._engine.dreaming.latest
        return pb.OfferEntropyResponse(intensity=report.intensity, report=wire.report_message(report, text))

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        engine = self._engine
        mirror, status = engine.store.mirror, await engine.store.status()
        counts = {state.name.lower(): mirror.count(state) for state in wire.STATE_NUMBERS}
        return pb.GetStatusResponse(
            name=engine.name,
            row_count=len(mirror),
            active_count=counts["active"],
            forgiven_count=counts["forgiven"],
            archived_count=counts["archived"],
            keystone_count=len(mirror.keystones),
            edge_count=len(mirror.graph),
            term_count=len(mirror.terms),
            backend=status.place,
            embedder=engine.embedder.name,
            vector_dimension=mirror.dimension,
            clock_ticks=engine.clock_state.ticks,
            dream_count=engine.clock_state.dreams,
            entropy_source=engine.clock_state.source,
            capabilities=sorted(engine.store.backend.capabilities),
            warnings=[*status.warnings, *engine.store.warnings.values()],
            version=installed_version(),
            durable=status.durable,
            waiting_vector_count=engine.missing_vectors.waiting,
        )

    async def GetIdentity(self, request: pb.GetIdentityRequest, context: Context) -> pb.GetIdentityResponse:
        engine = self._engine
        mood = engine.recalling.mood
        described = describe_identity(
            engine.identity,
            active=mood.active,
            heat=engine.heat,
            heated_at=mood.heated_at,
            version=installed_version(),
        )
        return pb.GetIdentityResponse(
            agent_id=engine.identity.agent_id, name=engine.name, identity_json=json.dumps(described)
        )

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        if request.after_sequence < 0:
            raise InvalidArgumentError("after_sequence: is negative", field="after_sequence")
        async for event in self._engine.store.events(request.after_sequence):
            yield wire.event_message(event)

    async def BackupStore(self, request: pb.BackupStoreRequest, context: Context) -> pb.BackupStoreResponse:
        if not request.path.startswith("/") and ":" not in request.path:
            raise InvalidArgumentError(
                f"path: {request.path!r} is not absolute; it names a file on the daemon's host", field="path"
            )
        result = await self._engine.store.backup(request.path)
        return pb.BackupStoreResponse(
            byte_count=result.byte_count, row_count=result.row_count, sha256=result.sha256
        )


def write_page_token(memory_id: int) -> str:
    return base64.urlsafe_b64encode(f"after:{memory_id}".encode()).decode()


def read_page_token(token: str) -> int:
    """The id that a page ends with, -1 for the first page. Raises InvalidArgumentError."""
    if not token:
        return -1
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
        prefix, _, number = text.partition(":")
        if prefix == "after":
            return int(number)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise InvalidArgumentError(
        f"page_token: {token[:40]!r} was not made by this service; start again without one",
        field="page_token",
        reason="INVALID_PAGE_TOKEN",
    )


def _has_tags(memory: Memory, tags: dict[str, str]) -> bool:
    return all(memory.row.tags.get(name) == value for name, value in tags.items())


def _within_message(hits: list[pb.RecalledMemory]) -> list[pb.RecalledMemory]:
    """The best hits that fit into one message; texts of a mebibyte each would not."""
    kept: list[pb.RecalledMemory] = []
    total = 0
    for hit in hits:
        total += hit.ByteSize()
        if kept and total > PAGE_BYTES:
            break
        kept.append(hit)
    return kept
