"""What the typed clients share: a deadline on every call, repeats, credentials, the trace id, our errors."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar

import grpc

from services import logs, tracing
from services.channels import open_channel
from services.errors import ServiceError
from services.repeats import Repeats
from services.rpc_errors import from_rpc_error
from services.rpc_interceptor import TRACE_KEY
from services.security import ClientSecurity

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class ServiceClient:
    """Owns one channel. `timeout` is the deadline in seconds of a unary call that names no other."""

    def __init__(self, target: str, *, security: ClientSecurity | None = None, timeout: float = 10.0) -> None:
        self.target = target
        self._token = security.token if security is not None else None
        self._timeout = timeout
        self._channel = open_channel(target, security)
        self._repeats = Repeats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the channel; calls under way fail with CANCELLED."""
        self._repeats.close()
        await self._channel.close()

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout: float | None = None,
        wait_for_ready: bool = False,
        repeat: bool = True,
    ) -> ResponseT:
        """One unary call. Raises the ServiceError that the daemon raised, or Unavailable/DeadlineExceeded.

        `timeout` is for all attempts together. `repeat` is False where a call that was answered and whose
        answer was lost must not run again; all others are reads, or writes that a second run leaves alike.
        """
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        span, code, failures = tracing.begin_call(_method_name(request)), "CANCELLED", 0
        try:
            while True:
                try:
                    answer = await method(
                        request,
                        timeout=deadline - time.monotonic(),
                        metadata=self._metadata(span),
                        wait_for_ready=wait_for_ready,
                    )
                    self._repeats.answered()
                    code = "OK"
                    return answer
                except grpc.aio.AioRpcError as error:
                    code, failures = error.code().name, failures + 1
                    left = deadline - time.monotonic() if repeat else 0.0
                    await self._wait_to_repeat(error, failures, left, span)
                    code = "CANCELLED"
        finally:
            span.end(code)

    async def _stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout: float,
    ) -> AsyncIterator[ResponseT]:
        """One server stream, cancelled when the consumer leaves. Raises as `_call`.

        It is repeated only until its first message: what comes after is for `services/watching.py`.
        """
        deadline = time.monotonic() + timeout
        span, code, failures, has_begun = tracing.begin_call(_method_name(request)), "CANCELLED", 0, False
        try:
            while code != "OK":
                call = method(request, timeout=deadline - time.monotonic(), metadata=self._metadata(span))
                try:
                    async for response in call:
                        if not has_begun:
                            self._repeats.answered()
                            has_begun = True
                        yield response
                    code = "OK"
                except grpc.aio.AioRpcError as error:
                    code, failures = error.code().name, failures + 1
                    left = 0.0 if has_begun else deadline - time.monotonic()
                    await self._wait_to_repeat(error, failures, left, span)
                    code = "CANCELLED"
                finally:
                    call.cancel()
        finally:
            span.end(code)

    async def _wait_to_repeat(
        self, error: grpc.aio.AioRpcError, failures: int, seconds_left: float, span: tracing.Span
    ) -> None:
        """Returns when the call may be made again; raises the error of our tree where it may not."""
        reached = self._channel.get_state() is not grpc.ChannelConnectivity.TRANSIENT_FAILURE
        try:
            await self._repeats.wait(from_rpc_error(error), failures, seconds_left, reached=reached)
        except ServiceError as final:
            raise final from error
        span.note("repeated", {"failures": failures, "why": error.details() or ""})

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
