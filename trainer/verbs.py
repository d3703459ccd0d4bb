"""`python -m trainer VERB …`: what can be done without a running daemon."""

from __future__ import annotations

from collections.abc import Sequence


def run_verb(arguments: Sequence[str]) -> int | None:
    """Runs the verb that the first argument names and returns its exit code; None when there is none.

    Raises ConfigurationError for a word that is no verb.
    """
    if not arguments or arguments[0].startswith("-"):
        return None
    verb, rest = arguments[0], list(arguments[1:])
    match verb:
        case "train":
            from trainer.train_verb import main as train

            return train(rest)
        case "prepare":
            from trainer.prepare_verb import main as prepare

            return prepare(rest)
        case "bench":
            from trainer.bench.daemon import main as bench

            return bench(rest)
        case "bench-train":
            import importlib

            return int(importlib.import_module("trainer.bench.comparison").main(rest))
        case _:
            from services.errors import ConfigurationError

            raise ConfigurationError(
                f"{verb!r} is no verb of trainerd; known are train, prepare, bench, bench-train"
            )
