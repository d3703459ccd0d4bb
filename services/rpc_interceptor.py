"""What happens around every RPC: credentials, trace id, errors as statuses, metrics.

Servicers only raise. Anything that is not a ServiceError is a defect: logged with its traceback and
answered INTERNAL without its text, which grpc.aio would otherwise send to the caller.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services import errors, logs, tracing
from services.call_observer import CallObserver
from services.rpc_errors import status_code, to_status
from services.security import ServerSecurity

TRACE_KEY = "x-trace-id"
DETAILS_KEY = "grpc-status-details-bin"
OPEN_SERVICES = ("/grpc.health.v1.Health/",)  # a health check needs no credential

log = logging.getLogger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps unary-unary and unary-stream handlers; we offer no other kinds."""

    def __init__(self, security: ServerSecurity, observer: CallObserver) -> None:
        self._security = security
        self._observer = observer

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN_SERVICES):
            return handler
        given = {str(key): value for key, value in handler_call_details.invocation_metadata or ()}
        allowed = self._security.accepts(_text(given.get("authorization")))
        trace = _text(given.get(TRACE_KEY)) or uuid.uuid4().hex
        parent = _text(given.get(tracing.PARENT_KEY)) or ""
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._wrap_unary(handler.unary_unary, method, allowed, trace, parent),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._wrap_stream(handler.unary_stream, method, allowed, trace, parent),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return handler if allowed else _refusing_handler()

    def _wrap_unary(self, behaviour: Any, method: str, allowed: bool, trace: str, parent: str) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            logs.trace_id.set(trace[:64])
            started, code = time.monotonic(), "OK"
            span = tracing.begin_answer(method, parent)
            try:
                if not allowed:
                    raise _refusal()
                return await behaviour(request, context)
            except BaseException as error:
                code = _code_name(error)
                await _abort(error, context, method)
            finally:
                self._observer.unary_done(method, code, time.monotonic() - started)
                span.end(code)

        return call

    def _wrap_stream(self, behaviour: Any, method: str, allowed: bool, trace: str, parent: str) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            logs.trace_id.set(trace[:64])
            code = "OK"
            span = tracing.begin_answer(method, parent)
            self._observer.stream_opened(method)
            try:
                if not allowed:
                    raise _refusal()
                async for response in behaviour(request, context):
                    yield response
            except BaseException as error:
                code = _code_name(error)
                await _abort(error, context, method)
            finally:
                self._observer.stream_done(method, code)
                span.end(code)

        return call


async def _abort(error: BaseException, context: grpc.aio.ServicerContext[Any, Any], method: str) -> None:
    if isinstance(error, asyncio.CancelledError | GeneratorExit | grpc.aio.AbortError | KeyboardInterrupt):
        raise error
    if not isinstance(error, errors.ServiceError) or isinstance(error, errors.ConfigurationError):
        log.error("unexpected error", exc_info=error, extra={"method": method})
        error = errors.InternalError("internal error")
    domain = method.strip("/").partition("/")[0]
    details = to_status(error, domain).SerializeToString()
    await context.abort(status_code(error), error.message, ((DETAILS_KEY, details),))


def _code_name(error: BaseException) -> str:
    if isinstance(error, errors.ServiceError):
        return status_code(error).name
    cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return "CANCELLED" if cancelled else "INTERNAL"


def _refusal() -> errors.UnauthenticatedError:
    return errors.UnauthenticatedError(
        "a bearer token is required: send it as `authorization: Bearer <token>`", reason="BAD_CREDENTIAL"
    )


def _refusing_handler() -> grpc.RpcMethodHandler[Any, Any]:
    async def refuse(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        await _abort(_refusal(), context, "/services/stream")
        yield  # pragma: no cover - makes this a generator; abort raises before

    return grpc.stream_stream_rpc_method_handler(refuse)


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
