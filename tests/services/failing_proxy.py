"""A gRPC proxy that answers a share of all attempts UNAVAILABLE, half of them after the work was done."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc


class FailingProxy(grpc.GenericRpcHandler):
    """Passes unary calls on to `target`. Whether an attempt fails follows from its request and its number, so
    that runs with the same seed see the same failures in whatever order their calls come."""

    def __init__(self, channel: grpc.aio.Channel, share: float, seed: int) -> None:
        self._channel = channel
        self._share = share
        self._seed = seed
        self.address = ""
        self.attempts: Counter[bytes] = Counter()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        call: Any = self._channel.unary_unary(handler_call_details.method)

        async def pass_on(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            self.attempts[request] += 1
            luck = random.Random(f"{self._seed}/{request.hex()}/{self.attempts[request]}")
            fails, too_late = luck.random() < self._share, luck.random() < 0.5
            if fails and not too_late:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the request was lost")
            answer = b""
            try:
                answer = await call(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                if not fails:
                    await context.abort(error.code(), error.details() or "")
            if fails:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
            return answer

        return grpc.unary_unary_rpc_method_handler(pass_on)


@asynccontextmanager
async def failing_proxy(target: str, share: float, *, seed: int = 1) -> AsyncIterator[FailingProxy]:
    async with grpc.aio.insecure_channel(target) as channel:
        proxy = FailingProxy(channel, share, seed)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((proxy,))
        proxy.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield proxy
        finally:
            await server.stop(0)
