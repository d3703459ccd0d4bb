"""What the typed clients share: a deadline on every call, credentials, the trace id, errors of our tree."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

import grpc

from services import logs, tracing
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
        span, code = tracing.begin_call(_method_name(request)), "CANCELLED"
        try:
            answer = await method(
                request,
                timeout=self._timeout if timeout is None else timeout,
                metadata=self._metadata(span),
                wait_for_ready=wait_for_ready,
            )
            code = "OK"
            return answer
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise from_rpc_error(error) from error
        finally:
            span.end(code)

    async def _stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout: float,
    ) -> AsyncIterator[ResponseT]:
        """One server stream, cancelled when the consumer leaves. Raises as `_call`."""
        span, code = tracing.begin_call(_method_name(request)), "CANCELLED"
        call = method(request, timeout=timeout, metadata=self._metadata(span))
        try:
            async for response in call:
                yield response
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise from_rpc_error(error) from error
        finally:
            call.cancel()
            span.end(code)

    def _metadata(self, span: tracing.Span) -> grpc.aio.Metadata:
        parent = span.parent_header
        # 00-<32 digits of the trace>-<16 of the span>-<flags>
        trace = logs.trace_id.get() or (parent.split("-")[1] if parent else uuid.uuid4().hex)
        metadata = grpc.aio.Metadata((TRACE_KEY, trace))
        if parent:
            metadata.add(tracing.PARENT_KEY, parent)
        if self._token is not None:
            metadata.add("authorization", f"Bearer {self._token}")
        return metadata


def _method_name(request: Any) -> str:
    """`package.Service/Method` of the request message; each of our files has one service."""
    descriptor = request.DESCRIPTOR
    [service] = descriptor.file.services_by_name.values()
    return f"{service.full_name}/{descriptor.name.removesuffix('Request')}"
