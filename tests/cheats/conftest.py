"""One trainer a tier, fed with every selected candidate at once; each test waits for its own."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cheats.laboratory import Laboratory
from trainer.sandbox.tiers import choose_tier


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> Any:
    """Collects the functions `cheat` and `honest` as tests, so that ids read cheat[…] and honest[…]."""
    if name in ("cheat", "honest") and inspect.isfunction(obj):
        return list(collector._genfunctions(name, obj))
    return None


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "trainer.data", "prepare", "--preset", "tiny", "--data", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def laboratory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_data: Path
) -> Iterator[Laboratory]:
    tier = request.param
    usable = [one.value.lower() for one in choose_tier("auto").usable]
    if tier not in usable:
        pytest.skip(f"the tier {tier} does not work on this machine")
    names = [item.callspec.params["candidate"].name for item in request.session.items if _belongs(item, tier)]
    folder = tmp_path_factory.mktemp(tier)
    with Laboratory(tier, folder, tiny_data, sorted(set(names))) as laboratory:
        yield laboratory


def _belongs(item: pytest.Item, tier: str) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    return params.get("laboratory") == tier and "candidate" in params
