"""entropyd in an environment of its own: no torch, no scipy, no LLM SDK, and it serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def install(folder: Path, extra: str) -> Path:
    """A new environment with the wheel of this tree; skips where no package index can be reached."""
    python = folder / "bin" / "python"
    uv = shutil.which("uv")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHONPATH"))}
    pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    make = [uv, "venv", "--python", sys.executable, str(folder)] if uv else [sys.executable, "-m", "venv"]
    if not uv:
        make.append(str(folder))
    subprocess.run(make, check=True, capture_output=True, timeout=120, env=environment)
    wanted = [*pip, f"{ROOT}[{extra}]", "-c", str(ROOT / "constraints.txt")]
    done = subprocess.run(wanted, capture_output=True, text=True, timeout=240, env=environment)
    if done.returncode != 0:
        pytest.skip(f"the packages cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
    return python


@pytest.mark.long
@pytest.mark.timeout(420)
@pytest.mark.skipif(os.name == "nt", reason="paths of a POSIX environment")
def test_it_installs_and_serves_without_torch(tmp_path: Path) -> None:
    python = install(tmp_path / "venv", "entropyd")
    listed = (
        "import importlib.util as u; print([n for n in ('torch', 'scipy', 'anthropic', 'optuna', 'rtlsdr')"
    )
    listed += " if u.find_spec(n)])"
    run = {"capture_output": True, "text": True, "timeout": 60, "cwd": tmp_path}
    found = subprocess.run([python, "-c", listed], check=True, **run)  # type: ignore[call-overload]
    assert found.stdout.strip() == "[]"
    command = [str(python.with_name("entropyd")), "--source", "auto"]
    command += ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        with urllib.request.urlopen(f"http://{addresses['http']}/api/entropy?bytes=8", timeout=5) as answer:
            body = json.load(answer)
        assert (body["source"], body["bytes_returned"]) == ("os", 8)
    finally:
        process.terminate()
        process.wait(10)
    probe = subprocess.run([str(python.with_name("entropyd")), "probe"], **run)  # type: ignore[call-overload]
    assert probe.returncode == 1
    assert "library-missing" in probe.stdout
    assert "Traceback" not in probe.stderr
