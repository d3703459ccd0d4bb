"""Shell completion: the scripts for each shell, and what bash really offers after Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("autoresearch")


def ask(environment: dict[str, str]) -> str:
    run = subprocess.run(
        [str(COMMAND)], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_names_the_command(shell: str) -> None:
    script = ask({"_AUTORESEARCH_COMPLETE": f"source_{shell}"})
    assert "autoresearch" in script
    assert f"complete_{shell}" in script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("hist", {"history"}), ("run --max-e", {"--max-experiments"}), ("bench se", {"search"})],
)
def test_bash_completes_commands_and_flags(typed: str, offered: set[str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    (tmp_path / "script").write_text(ask({"_AUTORESEARCH_COMPLETE": "source_bash"}))
    words = ["autoresearch", *typed.split()]
    program = (
        f"source {tmp_path / 'script'}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        "function_name=$(complete -p autoresearch | sed -E 's/.*-F ([^ ]+).*/\\1/')\n"
        '$function_name autoresearch; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        [bash, "-c", program], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    assert offered <= set(run.stdout.split()), run.stdout + run.stderr
