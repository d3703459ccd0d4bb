"""What a session cannot start without is named, with the way out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.mcp_server import build_server
from agent.providers import open_provider
from agent.scripted_proposer import read_script
from services.errors import ConfigurationError, InvalidArgumentError, UnsupportedError


@pytest.mark.parametrize(
    ("name", "sdk", "package"),
    [
        ("anthropic", "anthropic", "anthropic"),
        ("openai", "openai", "openai"),
        ("gemini", "google", "google-genai"),
    ],
)
def test_an_sdk_that_is_not_installed_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, name: str, sdk: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, sdk, None)
    monkeypatch.delitem(sys.modules, f"agent.providers.{name}", raising=False)
    # An error that may cross the wire: a ConfigurationError would reach the user as "internal error".
    with pytest.raises(UnsupportedError, match=f"uv pip install {package}`") as caught:
        open_provider(name, key="k")
    assert caught.value.reason == "NOT_INSTALLED"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read .*: No such file or directory"),
        (b"\xff\xfe", "cannot read .*: it is not UTF-8 text"),
        (b"{broken", "is not JSON Lines"),
        (b'{"change": {}}', "draft 1 of .* has change; known are"),
    ],
)
def test_a_script_that_is_no_use_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "script.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=f"script: .*{told}") as caught:
        read_script(path)
    assert caught.value.field == "script"


def test_an_mcp_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    with pytest.raises(ConfigurationError, match="uv pip install 'mcp>=2'"):
        build_server(None)  # type: ignore[arg-type]


def test_the_example_over_grpc_shows_its_usage() -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "train_over_grpc.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Usage: python docs/examples/train_over_grpc.py HOST:PORT TRAIN_PY" in done.stderr
    assert "Traceback" not in done.stderr
