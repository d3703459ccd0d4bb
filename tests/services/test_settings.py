"""Precedence, unknown names and messages of the settings base."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic_settings import SettingsConfigDict

from services.errors import ConfigurationError
from services.settings import DaemonSettings, load_settings, run_main


class ProbeSettings(DaemonSettings):
    model_config = SettingsConfigDict(env_prefix="AUTORESEARCH_PROBED_")
    daemon_name: ClassVar[str] = "probed"

    source: str = "os:"
    """Where bytes come from."""
    count: int = 3
    """How many."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "probed.toml"
    path.write_text('source = "from-file"\ncount = 7\n')
    return path


def test_flags_beat_environment_beats_file_beats_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(ProbeSettings, []).source == "os:"
    assert load_settings(ProbeSettings, ["--config", str(file)]).source == "from-file"
    monkeypatch.setenv("AUTORESEARCH_PROBED_SOURCE", "from-environment")
    assert load_settings(ProbeSettings, [f"--config={file}"]).source == "from-environment"
    settings = load_settings(ProbeSettings, ["--config", str(file), "--source", "from-flag"])
    assert (settings.source, settings.count) == ("from-flag", 7)


def test_an_environment_that_is_given_stands_for_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_PROBED_SOURCE", "of-the-process")
    given = {"AUTORESEARCH_PROBED_COUNT": "8", "autoresearch_probed_log_level": "debug"}
    settings = load_settings(ProbeSettings, [], environment=given)
    assert (settings.source, settings.count, settings.log_level) == ("os:", 8, "debug")
    assert load_settings(ProbeSettings, []).source == "of-the-process"


def test_an_unknown_environment_name_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_PROBED_SUORCE", "os:")
    with pytest.raises(ConfigurationError, match="AUTORESEARCH_PROBED_SUORCE"):
        load_settings(ProbeSettings, [])


def test_a_wrong_value_names_flag_and_value() -> None:
    with pytest.raises(ConfigurationError, match=r"--count: .*integer.*'many'"):
        load_settings(ProbeSettings, ["--count", "many"])


def test_an_unknown_name_in_the_file_is_refused(file: Path) -> None:
    file.write_text("cuont = 1\n")
    with pytest.raises(ConfigurationError, match="cuont"):
        load_settings(ProbeSettings, ["--config", str(file)])


@pytest.mark.parametrize("text", ["count = ", "\xff\xfe"])
def test_a_broken_file_is_named(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"probed\.toml"):
        load_settings(ProbeSettings, ["--config", str(file)])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_settings(ProbeSettings, ["--config", str(tmp_path / "absent.toml")])


def test_an_unknown_flag_exits_with_two() -> None:
    with pytest.raises(SystemExit) as caught:
        load_settings(ProbeSettings, ["--nonsense"])
    assert caught.value.code == 2


def test_secrets_do_not_show() -> None:
    settings = load_settings(ProbeSettings, ["--token", "a-very-secret-token"])
    assert "very-secret" not in repr(settings) + str(settings)


@pytest.mark.parametrize("token", ["change-me", "short"])
def test_example_and_short_tokens_refuse_to_start(token: str) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        load_settings(ProbeSettings, ["--token", token]).security()


def test_a_token_file_is_read_and_an_empty_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    assert load_settings(ProbeSettings, ["--token-file", str(path)]).security().token == "0123456789abcdef"
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        load_settings(ProbeSettings, ["--token-file", str(path)]).security()


def test_a_configuration_error_is_one_line_and_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(arguments: list[str]) -> int:
        raise ConfigurationError("--listen: taken")

    assert run_main(fail, []) == 2
    assert capsys.readouterr().err == "error: --listen: taken\n"
