"""Values that cannot be meant are refused before anything is started, with the flag and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli import run_command
from agent.cli.exit_codes import ExitCode

NOT_A_FOLDER = f"{__file__}/lab"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "--tag", ""], ExitCode.USAGE, "--tag: '' names no session; leave the flag out"),
        (["history", "--tag", ""], ExitCode.USAGE, "--tag: '' names no session"),
        (["stop", "--agent", "nonsense"], ExitCode.USAGE, "--agent: 'nonsense' is not HOST:PORT"),
        (["call", "recall", "--agent", "nonsense"], ExitCode.USAGE, "--agent: 'nonsense' is not HOST:PORT"),
        (["run", "--lab", NOT_A_FOLDER], ExitCode.REFUSED, "or name another folder with --lab"),
        (["up", "--lab", NOT_A_FOLDER], ExitCode.REFUSED, "or name another folder with --lab"),
        (["train", "--lab", __file__], ExitCode.USAGE, "name a lab or a folder that does not exist"),
        (["certs", "--out", __file__], ExitCode.USAGE, "(File exists): name a folder that can"),
        (["container", "--options", '--tag "x'], ExitCode.USAGE, "AUTORESEARCH_SESSION_OPTIONS: "),
    ],
)
def test_a_wrong_value_is_named(
    arguments: list[str], code: ExitCode, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == code
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert told in said.err
    assert not said.out


def test_a_damaged_authority_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ca.key", "ca.pem"):
        (tmp_path / name).write_text("no key\n", encoding="utf-8")
    assert run_command(["certs", "--out", str(tmp_path)]) == ExitCode.REFUSED
    assert "ca.key cannot be read" in capsys.readouterr().err
