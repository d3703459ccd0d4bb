"""The entry point of entropyd: the daemon, or one of the verbs assess, probe, bench."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.daemon import run_daemon
from services.settings import run_main


def run(arguments: Sequence[str]) -> int:
    """The exit code. Raises ConfigurationError for settings that cannot be served."""
    match list(arguments[:1]):
        case ["assess"]:
            from entropyd.assessment.assess import main as assess

            return assess(arguments[1:])
        case ["probe"]:
            from entropyd.sources.probe import main as probe

            return probe(arguments[1:])
        case ["bench"]:
            from entropyd.bench import main as bench

            return bench(arguments[1:])
    from entropyd.daemon import serve
    from entropyd.settings import EntropydSettings

    return run_daemon(EntropydSettings, arguments, serve)


def main() -> None:
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
