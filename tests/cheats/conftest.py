"""One trainer a tier, fed with every selected candidate at once; each test waits for its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cheats.laboratory import Laboratory
from tests.trainer.data.small_corpus import prepare_tiny_preset
from trainer.sandbox.tiers import choose_tier


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> Any:
    """Collects the functions `cheat` and `honest` as tests, so that ids read cheat[…] and honest[…]."""
    if name in ("cheat", "honest") and inspect.isfunction(obj):
        return list(collector._genfunctions(name, obj))
    return None


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_tiny_preset(tmp_path_factory.mktemp("data"))


class Laboratories:
    """Opens the laboratory of a tier when it is first asked for."""

    def __init__(self, stack: ExitStack, open_one: Callable[[str], Laboratory]) -> None:
        self._stack, self._open_one = stack, open_one
        self._opened: dict[str, Laboratory] = {}
        self._usable = [one.value.lower() for one in choose_tier("auto").usable]

    def of(self, tier: str) -> Laboratory:
        if tier not in self._usable:
            pytest.skip(f"the tier {tier} does not work on this machine")
        if tier not in self._opened:
            self._opened[tier] = self._stack.enter_context(self._open_one(tier))
        return self._opened[tier]


@pytest.fixture(scope="session")
def laboratories(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_data: Path
) -> Iterator[Laboratories]:
    def open_one(tier: str) -> Laboratory:
        params = [getattr(getattr(item, "callspec", None), "params", {}) for item in request.session.items]
        names = [one["candidate"].name for one in params if "candidate" in one and one.get("tier") == tier]
        return Laboratory(tier, tmp_path_factory.mktemp(tier), tiny_data, names)

    with ExitStack() as stack:
        yield Laboratories(stack, open_one)
