"""What the typed clients share: a deadline on every call, credentials, the trace id, errors of our tree."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Self, TypeVar

import grpc

from services import logs
from services.channels import open_channel
from services.rpc_errors import from_rpc_error
from services.rpc_interceptor import TRACE_KEY
from services.security import ClientSecurity

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class ServiceClient(AbstractAsyncContextManager["ServiceClient"]):
    """Owns one channel. `timeout` is the deadline in seconds of a unary call that names no other."""

    def __init__(self, target: str, *, security: ClientSecurity | None = None, timeout: float = 10.0) -> None:
        self.target = target
        self._token = security.token if security is not None else None
        self._timeout = timeout
        self._channel = open_channel(target, security)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the channel; calls under way fail with CANCELLED."""
        await self._channel.close()

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout: float | None = None,
        wait_for_ready: bool = False,
    ) -> ResponseT:
        """One unary call. Raises the ServiceError that the daemon raised, or Unavailable/DeadlineExceeded."""
        try:
            return await method(
                request,
                timeout=self._timeout if timeout is None else timeout,
                metadata=self._metadata(),
                wait_for_ready=wait_for_ready,
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout: float,
    ) -> AsyncIterator[ResponseT]:
        """One server stream, cancelled when the consumer leaves. Raises as `_call`."""
        call = method(request, timeout=timeout, metadata=self._metadata())
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    def _metadata(self) -> grpc.aio.Metadata:
        metadata = grpc.aio.Metadata((TRACE_KEY, logs.trace_id.get() or uuid.uuid4().hex))
        if self._token is not None:
            metadata.add("authorization", f"Bearer {self._token}")
        return metadata
