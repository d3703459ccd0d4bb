"""The composition root of memoryd: the daemon, and its verbs."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence

from memoryd.daemon import Daemon
from memoryd.settings import MemorydSettings, with_ferricula_ports
from memoryd.verbs import find_verb
from services.errors import ConfigurationError, ServiceError
from services.lifecycle import announce
from services.logs import configure_logs
from services.settings import load_settings, run_main

SWITCH_SECONDS = 0.001  # a dream plans in a thread: requests must not wait 5 ms for every turn
log = logging.getLogger("memoryd")


async def serve(settings: MemorydSettings) -> int:
    """Runs the daemon until it is told to end; 1 when the store failed under it."""
    async with Daemon(settings) as daemon:
        addresses = {"grpc": str(daemon.grpc_address), "http": str(daemon.http_address)}
        if daemon.mcp_address is not None:
            addresses["mcp"] = f"http://{daemon.mcp_address}/mcp"
        announce("memoryd", addresses)
        failure = await daemon.wait()
        if failure is not None:
            log.error("the store failed: %s", failure)
            return 1
    return 0


def run(arguments: Sequence[str]) -> int:
    """The daemon, or a verb (`memoryd bench …`). Raises ConfigurationError for what keeps it from running."""
    try:
        verb = find_verb(arguments)
        if verb is not None:
            return verb(arguments[1:])
        settings = with_ferricula_ports(load_settings(MemorydSettings, arguments))
        configure_logs("memoryd", settings.log_level)
        sys.setswitchinterval(SWITCH_SECONDS)
        return asyncio.run(serve(settings))
    except ConfigurationError:
        raise
    except ServiceError as error:
        raise ConfigurationError(error.message) from error


def main() -> None:
    """Console script `memoryd`."""
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
