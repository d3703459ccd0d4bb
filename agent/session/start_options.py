"""What a caller asks of a session, and the caps that follow from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from agent.ledger.records import SessionRecord
from agent.proposers import LANGUAGE_MODELS
from services.errors import InvalidArgumentError

_NAME_MODELS = frozenset({*LANGUAGE_MODELS, "hybrid"})


@dataclass(frozen=True)
class StartOptions:
    """What a caller asks of a session. None and empty leave what was, or take the default."""

    lab: Path
    tag: str = ""
    provider: str = ""
    model: str = ""
    base_url: str = ""
    script: str = ""
    preset: str = ""
    time_budget: float | None = None
    max_experiments: int | None = None
    additional_experiments: int | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_hours: float | None = None
    max_device_seconds: float | None = None
    manual: bool = False
    unsafe: bool = False


def with_limits(known: SessionRecord, options: StartOptions, done: int) -> SessionRecord:
    """The record with the caps after a start: given ones replace the old. `done` proposals stand already."""
    most = None if options.manual else known.max_experiments  # a person by hand is not held to an old goal
    if options.max_experiments is not None:
        most = options.max_experiments
    elif options.additional_experiments is not None:
        most = done + options.additional_experiments
    return replace(
        known,
        max_experiments=most,
        max_cost_usd=_or(options.max_cost_usd, known.max_cost_usd),
        max_tokens=options.max_tokens if options.max_tokens is not None else known.max_tokens,
        max_hours=_or(options.max_hours, known.max_hours),
        max_device_seconds=_or(options.max_device_seconds, known.max_device_seconds),
    )


def with_model(known: SessionRecord, options: StartOptions) -> str:
    """The model's name after a start: the one given, else the old one unless it is another provider's."""
    changed = options.provider != known.provider
    if changed and options.provider in _NAME_MODELS and known.provider in _NAME_MODELS:
        return options.model
    return options.model or known.model


def check_numbers(options: StartOptions) -> None:
    """Raises InvalidArgumentError for a limit that is no limit."""
    for name in (
        "time_budget",
        "max_experiments",
        "additional_experiments",
        "max_cost_usd",
        "max_tokens",
        "max_hours",
        "max_device_seconds",
    ):
        value = getattr(options, name)
        if value is not None and not value >= 0:
            raise InvalidArgumentError(f"{name}: {value} must not be negative", field=name)
    if options.time_budget is not None and not 0 < options.time_budget < 7 * 86400:
        raise InvalidArgumentError(
            f"time_budget: {options.time_budget} must be more than 0 and less than a week of seconds",
            field="time_budget",
        )


def _or(first: float | None, second: float | None) -> float | None:
    return second if first is None else first
