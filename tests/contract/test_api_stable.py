"""The gRPC API only grows: nothing of the released one is removed, renamed or renumbered.

After a release: `buf build -o ../tests/contract/api-VERSION.binpb --exclude-source-info` in proto/; the file
takes the place of the older one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
[RELEASED] = (ROOT / "tests/contract").glob("api-*.binpb")


def compare(folder: Path) -> subprocess.CompletedProcess[str]:
    buf = Path(sys.executable).with_name("buf")
    if not buf.exists():
        pytest.skip("buf is not installed (extra dev)")
    command = [str(buf), "breaking", "--against", str(RELEASED)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_released_api_is_still_there() -> None:
    run = compare(ROOT / "proto")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("there", "changed"),
    [
        ("bool resumed = 2;", "bool resumed = 9;"),
        ("bool resumed = 2;", ""),
        ("bool resumed = 2;", "string resumed = 2;"),
        ("rpc StopSession(", "rpc EndSession("),
    ],
)
def test_a_broken_api_is_noticed(there: str, changed: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    path = tmp_path / "proto/autoresearch/agent/v1/agent.proto"
    text = path.read_text(encoding="utf-8")
    assert there in text
    path.write_text(text.replace(there, changed), encoding="utf-8")
    assert compare(tmp_path / "proto").returncode != 0
