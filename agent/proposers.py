"""Chooses a proposer by name; each is imported only when it is chosen."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agent.lab.memory import LabMemory
from agent.ledger.ledger import Ledger
from agent.llm.prices import Price, PriceList
from agent.proposer import Proposer
from agent.provider import Provider
from agent.session.drafting import Drafting
from agent.settings import KEY_NAMES, ProviderKeys
from services.errors import FailedPreconditionError, InvalidArgumentError

LANGUAGE_MODELS = tuple(KEY_NAMES)
NAMES = ("auto", "search", "scripted", "hybrid", *LANGUAGE_MODELS)
GUIDANCE = "guidance.md"


@dataclass(frozen=True)
class ProposerChoice:
    """What a caller asked for. `provider` is resolved: never "auto" or empty; `hybrid` puts search beside
    the language model."""

    provider: str
    model: str = ""
    base_url: str = ""
    script: str = ""
    max_cost_usd: float | None = None
    hybrid: bool = False


@dataclass(frozen=True)
class ProposerParts:
    """What proposers may use of a session."""

    ledger: Ledger
    session_id: str
    lab: Path
    drafting: Drafting
    memory: LabMemory
    keys: ProviderKeys
    prices: PriceList
    check_money: Callable[[], None]
    sleep: Callable[[float], Awaitable[None]]


def choose(
    provider: str, keys: ProviderKeys, max_cost_usd: float | None, base_url: str = ""
) -> tuple[str, bool, str]:
    """The provider that a name means, whether search works beside it, and a line for the user if needed.

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
            return "search", False, ""
        if max_cost_usd is None:
            note = f"a key for {keys.providers[0]} is set but no cap: searching without a language model; "
            return "search", False, note + "give --max-cost-usd to use it"
        return keys.providers[0], False, ""
    if provider == "hybrid":
        if not keys.providers and not base_url:
            names = ", ".join(names[0] for names in KEY_NAMES.values())
            raise FailedPreconditionError(
                f"provider: hybrid needs a language model: set one of {names}, or name a server of your own "
                "with --base-url",
                reason="NO_KEY",
            )
        return ("openai" if base_url else keys.providers[0]), True, ""
    if provider in LANGUAGE_MODELS and not keys.get(provider) and not base_url:
        raise FailedPreconditionError(
            f"provider: {provider} needs a key: set {KEY_NAMES[provider][0]}, name a server of your own "
            "with --base-url, or use --provider search",
            reason="NO_KEY",
        )
    return provider, False, ""


def open_proposer(choice: ProposerChoice, parts: ProposerParts) -> Proposer:
    """The chosen proposer. Raises InvalidArgumentError, FailedPreconditionError (NO_KEY, CAP_REQUIRED) and
    UnsupportedError (NOT_INSTALLED)."""
    match choice.provider:
        case "manual":
            from agent.scripted_proposer import ScriptedProposer

            return ScriptedProposer([])
        case "scripted":
            from agent.llm.scripted_provider import ScriptedProvider
            from agent.scripted_proposer import ScriptedProposer, plays_model, read_script

            if not choice.script:
                raise InvalidArgumentError("script: provider scripted needs a script", field="script")
            entries = read_script(Path(choice.script))
            if plays_model(entries):
                return _tool_loop(ScriptedProvider(entries, choice.model or "scripted"), choice, parts)
            return ScriptedProposer(entries)
        case "search":
            return _search(parts)
        case _:
            model = _language_model(choice, parts)
            if not choice.hybrid:
                return model
            from agent.hybrid_proposer import HybridProposer

            return HybridProposer(_search(parts), model, key=parts.session_id)


def check_price(price: Price | None, model: str, max_cost_usd: float | None, date: str) -> None:
    """A cap on dollars needs a price. Raises FailedPreconditionError (CAP_REQUIRED)."""
    if price is None and max_cost_usd is not None:
        raise FailedPreconditionError(
            f"model: the price list of {date} has no price for {model!r}, so a cap in dollars cannot be "
            "kept: add it with `agentd --prices FILE`, or cap with --max-tokens instead",
            reason="CAP_REQUIRED",
        )


def _language_model(choice: ProposerChoice, parts: ProposerParts) -> Proposer:
    from agent.providers import open_provider

    key = parts.keys.get(choice.provider)
    provider = open_provider(choice.provider, model=choice.model, key=key, base_url=choice.base_url)
    return _tool_loop(provider, choice, parts)


def _tool_loop(provider: Provider, choice: ProposerChoice, parts: ProposerParts) -> Proposer:
    from agent.hybrid_proposer import describe_trials
    from agent.llm.bench import LlmBench
    from agent.llm.metered import MeteredProvider
    from agent.llm.proposer import LlmProposer

    price = parts.prices.find(provider.model)
    check_price(price, provider.model, choice.max_cost_usd, parts.prices.date)
    metered = MeteredProvider(
        provider,
        parts.ledger,
        parts.session_id,
        price,
        check_money=parts.check_money,
        sleep=parts.sleep,
        own_server=bool(choice.base_url),
    )
    bench = LlmBench(parts.ledger, parts.session_id, parts.drafting, parts.memory)

    def optimizer() -> str:
        sigma = parts.ledger.session(parts.session_id).noise_sigma or 0.0
        return describe_trials(parts.drafting.history(), sigma) if choice.hybrid else ""

    return LlmProposer(metered, bench, guidance=lambda: read_guidance(parts.lab), optimizer=optimizer)


def read_guidance(lab: Path) -> str:
    """What the owner of the lab wrote into guidance.md, at most 4,000 characters; empty without the file."""
    try:
        return (lab / GUIDANCE).read_text(encoding="utf-8", errors="replace").strip()[:4000]
    except OSError:
        return ""


def _search(parts: ProposerParts) -> Proposer:
    from agent.search.proposer import SearchProposer

    return SearchProposer(seed=random.Random(parts.session_id).getrandbits(31))
