"""Typed client of MemoryService. Methods raise the errors that the proto documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from autoresearch.memory.v1 import memory_pb2 as pb
from autoresearch.memory.v1 import memory_pb2_grpc as rpc

from services.client import ServiceClient
from services.security import ClientSecurity
from services.watching import resume_stream


class MemoryClient(ServiceClient):
    def __init__(self, target: str, *, security: ClientSecurity | None = None, timeout: float = 10.0) -> None:
        super().__init__(target, security=security, timeout=timeout)
        self._stub = rpc.MemoryServiceStub(self._channel)

    async def remember(
        self,
        text: str,
        *,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str = "",
        importance: float = 0.0,
        keystone: bool = False,
    ) -> pb.RememberResponse:
        """Stores `text`; durable when this returns. The same key stores once; without one nothing is repeated
        after a lost answer."""
        request = pb.RememberRequest(
            text=text,
            tags=tags or {},
            idempotency_key=idempotency_key,
            importance=importance,
            keystone=keystone,
        )
        return await self._call(self._stub.Remember, request, repeat=bool(idempotency_key))

    async def recall(
        self,
        text: str,
        *,
        limit: int = 10,
        tags: Mapping[str, str] | None = None,
        states: Sequence[pb.MemoryState.ValueType] = (),
        minimum_score: float = 0.0,
    ) -> list[pb.RecalledMemory]:
        """The memories nearest to `text`, best first; each is strengthened."""
        request = pb.RecallRequest(
            text=text, tags=tags or {}, limit=limit, states=states, minimum_score=minimum_score
        )
        return list((await self._call(self._stub.Recall, request)).memories)

    async def search(
        self, text: str, *, limit: int = 10, vector_weight: float = 0.0
    ) -> list[pb.RecalledMemory]:
        request = pb.SearchRequest(text=text, limit=limit, vector_weight=vector_weight)
        return list((await self._call(self._stub.Search, request)).memories)

    async def forget(self, memory_id: int) -> None:
        await self._call(self._stub.Forget, pb.ForgetRequest(memory_id=memory_id))

    async def connect(
        self,
        from_memory_id: int,
        to_memory_id: int,
        *,
        label: str = "related",
        kind: pb.EdgeKind.ValueType = pb.EDGE_KIND_SEMANTIC,
    ) -> pb.Edge:
        request = pb.ConnectRequest(
            from_memory_id=from_memory_id, to_memory_id=to_memory_id, label=label, kind=kind
        )
        return (await self._call(self._stub.Connect, request)).edge

    async def disconnect(self, first_memory_id: int, second_memory_id: int) -> bool:
        request = pb.DisconnectRequest(first_memory_id=first_memory_id, second_memory_id=second_memory_id)
        return (await self._call(self._stub.Disconnect, request)).removed

    async def neighbors(self, memory_id: int) -> pb.ListNeighborsResponse:
        return await self._call(self._stub.ListNeighbors, pb.ListNeighborsRequest(memory_id=memory_id))

    async def inspect(self, memory_id: int) -> pb.Memory:
        request = pb.InspectMemoryRequest(memory_id=memory_id)
        return (await self._call(self._stub.InspectMemory, request)).memory

    async def list_memories(
        self, *, page_size: int = 50, page_token: str = "", tags: Mapping[str, str] | None = None
    ) -> pb.ListMemoriesResponse:
        request = pb.ListMemoriesRequest(page_size=page_size, page_token=page_token, tags=tags or {})
        return await self._call(self._stub.ListMemories, request)

    async def set_keystone(self, memory_id: int, keystone: bool) -> pb.Memory:
        request = pb.SetKeystoneRequest(memory_id=memory_id, keystone=keystone)
        return (await self._call(self._stub.SetKeystone, request)).memory

    async def dream(self, *, intensity: float | None = None, seed: bytes = b"") -> pb.DreamReport:
        request = pb.DreamRequest(intensity=intensity, seed=seed)
        return (await self._call(self._stub.Dream, request, timeout=60.0, repeat=False)).report

    async def offer_entropy(self, entropy: bytes, source: str) -> pb.OfferEntropyResponse:
        request = pb.OfferEntropyRequest(entropy=entropy, source=source)
        return await self._call(self._stub.OfferEntropy, request, timeout=60.0, repeat=False)

    async def status(
        self, *, wait_for_ready: bool = False, timeout: float | None = None
    ) -> pb.GetStatusResponse:
        request = pb.GetStatusRequest()
        return await self._call(self._stub.GetStatus, request, wait_for_ready=wait_for_ready, timeout=timeout)

    async def identity(self) -> pb.GetIdentityResponse:
        return await self._call(self._stub.GetIdentity, pb.GetIdentityRequest())

    def watch_events(
        self, *, after_sequence: int = 0, timeout: float = 3600.0
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        def open_stream(after: int) -> AsyncIterator[pb.WatchEventsResponse]:
            return self._stream(
                self._stub.WatchEvents, pb.WatchEventsRequest(after_sequence=after), timeout=timeout
            )

        return resume_stream(open_stream, after_sequence=after_sequence)

    async def backup(self, path: str, *, timeout: float = 600.0) -> pb.BackupStoreResponse:
        request = pb.BackupStoreRequest(path=path)
        return await self._call(self._stub.BackupStore, request, timeout=timeout, repeat=False)
