"""What tokens cost, from the dated list beside this file or the user's own. An unknown price is no price."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.provider import Usage
from services.errors import ConfigurationError

SHIPPED = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    cached_input: float
    cache_write: float
    output: float

    def cost(self, usage: Usage) -> float:
        """US dollars for what was used."""
        return (
            usage.input_tokens * self.input
            + usage.cached_input_tokens * self.cached_input
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output
        ) / 1e6


@dataclass(frozen=True)
class PriceList:
    """Prices by the beginning of a model's name, and the day they were written down."""

    date: str
    models: Mapping[str, Price]

    def find(self, model: str) -> Price | None:
        """The price of the longest name that `model` begins with; None when none does."""
        name = model.rpartition("/")[2].lower()
        known = [key for key in self.models if name.startswith(key)]
        return self.models[max(known, key=len)] if known else None


def read_prices(path: Path | None = None) -> PriceList:
    """The shipped list, with the entries of the user's file before them.

    Raises ConfigurationError that names the file and what is wrong in it.
    """
    shipped = _read(SHIPPED)
    if path is None:
        return shipped
    own = _read(path)
    return PriceList(own.date, {**shipped.models, **own.models})


def _read(path: Path) -> PriceList:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        models = {
            str(name).lower(): Price(
                float(entry["input"]),
                float(entry.get("cached_input", entry["input"])),
                float(entry.get("cache_write", entry["input"])),
                float(entry["output"]),
            )
            for name, entry in content["models"].items()
        }
        return PriceList(str(content["date"]), models)
    except OSError as error:
        raise ConfigurationError(f"--prices: cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"--prices: {path} needs a date and [models] with input and output for each: {error}"
        ) from error
