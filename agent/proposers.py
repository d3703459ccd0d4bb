"""Chooses a proposer by name; each is imported only when it is chosen."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.drafting import Drafting
from agent.lab_memory import LabMemory
from agent.ledger import Ledger
from agent.proposer import Proposer
from agent.settings import KEY_NAMES, ProviderKeys
from services.errors import ConfigurationError, FailedPreconditionError, InvalidArgumentError

LANGUAGE_MODELS = tuple(KEY_NAMES)
NAMES = ("auto", "search", "scripted", "hybrid", *LANGUAGE_MODELS)


@dataclass(frozen=True)
class ProposerChoice:
    """What a caller asked for. `provider` is resolved: never "auto" or empty."""

    provider: str
    model: str = ""
    base_url: str = ""
    script: str = ""
    max_cost_usd: float | None = None


def resolve(
    provider: str, keys: ProviderKeys, max_cost_usd: float | None, base_url: str = ""
) -> tuple[str, str]:
    """The provider that a name means, and a line for the user where that needs saying.

    `auto` is a language model only with a key and a cap on dollars. Raises InvalidArgumentError
    (UNKNOWN_PROVIDER) and FailedPreconditionError (NO_KEY).
    """
    provider = provider or "auto"
    if provider not in NAMES:
        raise InvalidArgumentError(
            f"provider: {provider!r} is not one of {', '.join(NAMES)}",
            field="provider",
            reason="UNKNOWN_PROVIDER",
        )
    if provider == "auto":
        if not keys.providers:
            return "search", ""
        if max_cost_usd is None:
            return "search", (
                f"a key for {keys.providers[0]} is set but no cap: searching without a language model; "
                "give --max-cost-usd to use it"
            )
        return keys.providers[0], ""
    if provider in LANGUAGE_MODELS and not keys.get(provider) and not base_url:
        raise FailedPreconditionError(
            f"provider: {provider} needs a key: set {KEY_NAMES[provider][0]}, name a server of your own "
            "with --base-url, or use --provider search",
            reason="NO_KEY",
        )
    return provider, ""


def open_proposer(
    choice: ProposerChoice,
    keys: ProviderKeys,
    ledger: Ledger,
    session_id: str,
    drafting: Drafting,
    memory: LabMemory,
    *,
    check_money: Callable[[], None],
) -> Proposer:
    """The chosen proposer. Raises ConfigurationError and FailedPreconditionError (NO_KEY, UNKNOWN_PRICE)."""
    match choice.provider:
        case "scripted":
            from agent.scripted_proposer import ScriptedProposer, read_script

            if not choice.script:
                raise InvalidArgumentError("script: provider scripted needs a script", field="script")
            return ScriptedProposer(read_script(Path(choice.script)))
        case "manual":
            from agent.scripted_proposer import ScriptedProposer

            return ScriptedProposer([])
        case "search":
            return _search(session_id)
        case _:
            raise ConfigurationError(f"provider {choice.provider} is not installed")


def _search(session_id: str) -> Proposer:
    from agent.search_proposer import SearchProposer

    return SearchProposer(seed=random.Random(session_id).getrandbits(31))
