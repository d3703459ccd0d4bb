"""Channels to other daemons: keepalive, reconnecting, credentials."""

from __future__ import annotations

import grpc

from services.security import ClientSecurity

# Routers forget idle connections after a minute or more, and a call on a forgotten one hangs: an idle channel
# closes its connection before, and a stream keeps its own alive by pings. Servers allow one every 20 s.
IDLE_SECONDS = 45.0
CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.enable_retries", 1),  # of calls that never left; the others are up to services/repeats.py
    ("grpc.keepalive_time_ms", 45_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),  # the third in a row would wait for a minute otherwise
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 500),  # ± 20 %: less than the repeats of one call take
    ("grpc.enable_http_proxy", 0),
)


def open_channel(
    target: str, security: ClientSecurity | None = None, *, idle_seconds: float = IDLE_SECONDS
) -> grpc.aio.Channel:
    """A lazy channel to HOST:PORT. The token of `security` is sent by the clients, call by call."""
    options = (*CHANNEL_OPTIONS, ("grpc.client_idle_timeout_ms", int(idle_seconds * 1000)))
    credentials = security.grpc_credentials() if security is not None else None
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)
