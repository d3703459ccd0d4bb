"""Rules of the house that import-linter and ruff cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("services", "entropyd", "memoryd", "trainer", "agent")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
RESEARCH_FILE = ROOT / "trainer/template/train.py"
HEAVY = {"torch", "anthropic", "openai", "optuna", "matplotlib", "rtlsdr", "psycopg", "triton"}
VAGUE_NAMES = {"utils", "helpers", "common", "manager", "misc", "base"}
DAEMON_MODULES = ("entropyd.__main__", "memoryd.__main__", "trainer.__main__", "agent.__main__", "agent.cli")


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_files_stay_short_and_well_named(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (900 if path == RESEARCH_FILE else 300)
    assert path.stem not in VAGUE_NAMES


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stat().st_size], ids=identify)
def test_modules_say_what_they_are_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_stubs_are_used_by_the_typed_clients_only() -> None:
    """A client gives every call a deadline; a stub in another place could forget it."""
    users = {
        identify(path)
        for path in SOURCES
        if any(
            isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Stub")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    expected = {f"services/{name}_client.py" for name in ("entropy", "memory", "trainer", "agent")}
    assert users == expected | {"services/health_check.py"}


@pytest.mark.parametrize("module", DAEMON_MODULES)
def test_daemons_start_without_heavy_imports(module: str) -> None:
    code = f"import sys, {module}\nheavy = {HEAVY}\nprint(*sorted(heavy & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


def test_every_rpc_is_documented() -> None:
    stubs = list((ROOT / "proto/autoresearch").rglob("*_pb2_grpc.py"))
    assert len(stubs) == 4
    for stub in stubs:
        assert "Missing associated documentation comment" not in stub.read_text(encoding="utf-8"), stub
