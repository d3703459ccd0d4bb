"""Runs a gRPC server: binding, health, optional reflection, drain on exit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.addresses import Address
from services.call_observer import CallObserver
from services.errors import ConfigurationError
from services.rpc_interceptor import CallInterceptor
from services.security import ServerSecurity, refuse_open_listen

# A peer may ping every 20 s: the library's default of 300 s would end idle watches with GOAWAY.
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # a taken port must be an error, not a shared one
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
)


class GrpcServer(AbstractAsyncContextManager["GrpcServer"]):
    """A server that is SERVING inside `async with`, and NOT_SERVING, drained and stopped after it.

    Entering raises ConfigurationError when the port is taken or the address would be open to others
    without credentials.
    """

    def __init__(
        self,
        address: Address,
        *,
        security: ServerSecurity,
        observer: CallObserver,
        with_reflection: bool = False,
        drain_seconds: float = 10.0,
    ) -> None:
        refuse_open_listen(address, security, flag="--listen")
        self._wanted = address
        self._security = security
        self._with_reflection = with_reflection
        self._drain_seconds = drain_seconds
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(security, observer)], options=SERVER_OPTIONS
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [""]
        self.address = address

    def add(self, register: Callable[[Any, Any], None], servicer: Any, service_name: str) -> None:
        """Adds a servicer by its generated `add_…_to_server`; `service_name` is the full proto name."""
        register(servicer, self._server)
        self._names.append(service_name)

    async def set_serving(self, serving: bool) -> None:
        """Changes what health checks answer."""
        state = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._health.set(name, state.SERVING if serving else state.NOT_SERVING)

    async def __aenter__(self) -> Self:
        if self._with_reflection:
            reflection.enable_server_reflection((*self._names[1:], reflection.SERVICE_NAME), self._server)
        credentials = self._security.grpc_credentials()
        try:
            if credentials is None:
                port = self._server.add_insecure_port(str(self._wanted))
            else:
                port = self._server.add_secure_port(str(self._wanted), credentials)
        except RuntimeError as error:
            raise ConfigurationError(
                f"--listen: cannot bind {self._wanted}: the port is taken or the address is not this "
                "machine's; choose another or port 0"
            ) from error
        self.address = Address(self._wanted.host, port)
        await self._server.start()
        await self.set_serving(True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.set_serving(False)
        # Without the shield a second signal would leave the server half stopped.
        await asyncio.shield(asyncio.create_task(self._server.stop(self._drain_seconds)))
