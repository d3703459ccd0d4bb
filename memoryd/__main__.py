"""The composition root of memoryd: the daemon, and its verbs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from memoryd.daemon import Daemon
from memoryd.settings import MemorydSettings, with_ferricula_ports
from memoryd.verbs import find_verb
from services.daemon import run_daemon
from services.errors import ConfigurationError, ServiceError
from services.settings import run_main

SWITCH_SECONDS = 0.001  # a dream plans in a thread: requests must not wait 5 ms for every turn
log = logging.getLogger("memoryd")


async def serve(settings: MemorydSettings) -> int:
    """Runs the daemon until it is told to end; 1 when the store failed under it."""
    sys.setswitchinterval(SWITCH_SECONDS)
    async with Daemon(with_ferricula_ports(settings)) as daemon:
        daemon.announce()
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
        return run_daemon(MemorydSettings, arguments, serve)
    except ConfigurationError:
        raise
    except ServiceError as error:
        raise ConfigurationError(error.message) from error


def main() -> None:
    """Console script `memoryd`."""
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
