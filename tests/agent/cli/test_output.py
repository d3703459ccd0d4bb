"""What programs and people read: golden JSON, plain pipes, colour only on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from autoresearch.agent.v1 import agent_pb2 as pb

from agent import cli
from agent.cli.application import application
from agent.cli.console import open_console
from agent.cli.exit_codes import ExitCode, exit_code
from agent.cli.remembered_flags import remember_flags, remembered_flags, without_password
from agent.cli.same_command import NO_FLAGS, Commands, flags_again, program
from agent.cli.session_summary import print_summary, summary_lines, where_lines
from services import errors
from tests.agent.cli.command import run_command
from tests.agent.cli.scripted_agentd import ScriptedAgent, serve_agent

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).resolve().parents[3]


def compare(name: str, text: str) -> None:
    """AUTORESEARCH_GOLDEN=write makes the files anew; the change then shows in the diff."""
    path = GOLDEN / name
    if os.environ.get("AUTORESEARCH_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


async def test_the_json_of_a_session_is_stable() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        result = await run_command("run", "--agent", address, "--json", "--lab", "/lab")
        history = await run_command("history", "--agent", address, "--json", "--lab", "/lab")
    compare("run.jsonl", result.out)
    compare("history.json", json.dumps(json.loads(history.out), indent=1) + "\n")


async def test_the_text_of_a_session_is_stable() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        run = await run_command("run", "--agent", address, "--lab", "/lab")
        report = await run_command("report", "--agent", address, "--lab", "/lab")
    compare("run.txt", run.out.replace(address, "HOST:PORT"))
    compare("report.txt", report.out)


async def run_on_a_terminal(*arguments: str, **environment: str) -> str:
    """The command's output with a pseudo-terminal as stdout."""
    import pty

    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", *arguments, stdin=theirs, stdout=theirs, stderr=theirs,
        env=dict(os.environ) | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment,
    )  # fmt: skip
    os.close(theirs)
    chunks = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                return
            if not chunk:
                return
            chunks.append(chunk)

    await asyncio.gather(asyncio.to_thread(read), asyncio.wait_for(process.wait(), 60))
    os.close(ours)
    return b"".join(chunks).decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
async def test_a_terminal_gets_colour_and_a_live_line_unless_no_color_is_set() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        coloured = await run_on_a_terminal("run", "--agent", address, "--lab", "/lab")
        plain = await run_on_a_terminal("run", "--agent", address, "--lab", "/lab", NO_COLOR="1")
        as_json = await run_on_a_terminal("run", "--agent", address, "--lab", "/lab", "--json")
    colour = re.compile(r"\x1b\[[0-9;]*(3[0-9]|9[0-7])m")
    assert colour.search(coloured)
    assert "keep" in coloured
    assert not colour.search(plain)
    assert "keep" in plain
    assert "\x1b" not in as_json
    assert all(json.loads(line) for line in as_json.splitlines())


async def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m agent.cli doctor --help | head -1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert out.startswith(b"Usage")
    assert err == b""


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
async def test_a_reader_that_leaves_a_session_ends_it_without_a_traceback(flags: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with serve_agent(ScriptedAgent()) as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.cli", "run", "--agent", address, "--lab", "/a lab", *flags,
            stdout=writing, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        os.close(writing)
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == ExitCode.FAILED
    assert err.decode().replace(address, "ADDRESS").splitlines() == [
        "detached; the session goes on. Follow it again with the same command, "
        f"stop it with `{program()} stop --lab '/a lab' --agent ADDRESS`"
    ]


async def test_a_terminal_without_unicode_gets_escapes_and_json_stays_json() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        command = ("run", "--agent", address, "--lab", "/lab")
        result = await run_command(*command, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C")
        as_json = await run_command(*command, "--json", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C")
    assert result.code == as_json.code == 0, result.err
    assert "-0.1000 \\xb1 0.0100" in result.out
    assert all(json.loads(line) for line in as_json.lines)


async def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    result = await run_command("run", "--lab", os.fsdecode(b"lab\xff"), cwd=tmp_path)
    assert result.code == ExitCode.USAGE
    assert "no text in the encoding" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
async def test_a_narrow_terminal_gets_whole_words() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        out = await run_on_a_terminal("history", "--agent", address, "--lab", "/lab", COLUMNS="40")
    flat = " ".join(out.split())
    assert "#1 keep val_bpb 1.900000 difference -0.1000 ± 0.0100" in flat
    assert "…" not in out


def test_wrong_use_is_a_message_and_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, named in (
        (["nonsense"], "'nonsense'. Try `autoresearch --help`"),
        (["run", "--nonsense"], "--nonsense. Try `autoresearch run --help`"),
        (["run", "--max-experiments", "many"], "'--max-experiments'"),
        (["call"], "'name'"),
    ):
        assert cli.run_command(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert named in said.err
        assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--provider", "oracle"], "--provider: 'oracle'"),
        (["run", "--tag", "../x"], "tag: '../x'"),
        (["run", "--lab", ""], "--lab: '' names no folder"),
        (["train", "--lab", ""], "--lab: '' names no folder"),
        (["run", "--provider", "scripted"], "--script"),
        (["run", "--script", "x"], "--script"),
        (["run", "--base-url", "localhost"], "--base-url: 'localhost'"),
        (["run", "--trainer", "gpu"], "--trainer: 'gpu'"),
        (["run", "--memory", "mysql://x"], "--memory: 'mysql://x'"),
        (["train", "--time-budget", "5", "--tokens", "9"], "--time-budget and --tokens"),
        (["history", "--lab", "/nowhere"], "/nowhere"),
        (["sample", "--lab", "/nowhere"], "/nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_value_is_named_with_the_way_out(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run_command(arguments) in (2, 3)
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ")
    assert named in said.err
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def test_every_error_has_a_code_and_the_page_lists_all() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \|", page, re.MULTILINE), code
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(kinds) >= 14
    for kind in kinds:
        if issubclass(kind, errors.ServiceError):
            assert exit_code(kind("x")) is not ExitCode.OK
    assert exit_code(errors.InternalError("x")) is ExitCode.INTERNAL


def test_every_command_is_on_the_page_and_explains_itself() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in application.registered_commands:
        if command.hidden:
            continue
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert f"`{name}`" in page, name
        assert (command.callback.__doc__ or "").strip(), name


def test_a_session_that_ended_before_its_baseline_names_no_file_that_is_not_there() -> None:
    session = pb.Session(lab="/lab", tag="lab", state=pb.SESSION_STATE_STOPPED)
    session.stop_reason = pb.STOP_REASON_REQUESTED
    lines = [*summary_lines(session, []), *where_lines(session, NO_FLAGS)]
    assert "Stopped: on request" in lines
    assert not any("results.tsv" in line or "best" in line.split("/") for line in lines)
    session.noise_sigma = 0.01
    assert "Experiments: /lab/results.tsv   Best weights: /lab/best" in where_lines(session, NO_FLAGS)


def test_the_way_on_repeats_what_was_said_and_holds_in_any_folder() -> None:
    assert flags_again(provider="auto", executor="local", unsafe=False, model="", script="") == ""
    again = flags_again(provider="openai", base_url="http://h/v1", data=Path("my data"), unsafe=True)
    folder = str(Path.cwd() / "my data")
    assert shlex.split(again) == [
        "--provider", "openai", "--base-url", "http://h/v1", "--data", folder, "--unsafe",
    ]  # fmt: skip
    session = pb.Session(lab="/a lab", tag="t")
    lines = where_lines(session, Commands(again=again, peer=" --agent h:1"))
    assert lines[-3] == f"Go on: {program()} run --lab '/a lab' --tag t{again}"
    assert lines[-1] == f"Report: {program()} report --lab '/a lab' --tag t --agent h:1"


def test_the_program_is_named_so_that_a_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(sys.executable).with_name("autoresearch")
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(own.parent))
    assert program() == "autoresearch"
    monkeypatch.setenv("UV", "/usr/bin/uv")  # `uv run` puts that folder on the PATH of its child alone
    assert program() == shlex.quote(str(own))
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == shlex.quote(str(own))
    (tmp_path / "autoresearch").write_text("#!/bin/sh\n")
    (tmp_path / "autoresearch").chmod(0o755)
    assert program() == shlex.quote(str(own)), "another program of that name"


def test_the_flags_of_a_run_are_kept_for_each_tag_and_hold_no_password(tmp_path: Path) -> None:
    assert remembered_flags(tmp_path, "lab") == ""
    remember_flags(tmp_path, "lab", " --data '/my data'")
    remember_flags(tmp_path, "other", " --unsafe")
    assert remembered_flags(tmp_path, "lab") == " --data '/my data'"
    assert remembered_flags(tmp_path, "other") == " --unsafe"
    (tmp_path / "run-flags.json").write_text('{"lab": "--a\\n; rm -rf x", "other": 3}')
    assert remembered_flags(tmp_path, "lab") == remembered_flags(tmp_path, "other") == ""
    (tmp_path / "run-flags.json").write_text("[]")
    assert remembered_flags(tmp_path, "lab") == ""
    remember_flags(tmp_path / "no-lab", "lab", " --unsafe")
    assert not (tmp_path / "no-lab").exists()
    assert without_password("postgresql://me:secret@h:5/db?x=1") == "postgresql://me@h:5/db?x=1"
    assert without_password("sqlite:///a/b.db") == "sqlite:///a/b.db"
    assert without_password("none") == "none"


def test_the_newest_are_shown_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    proposals = [
        pb.Proposal(number=0, verdict=pb.VERDICT_BASELINE, description="as it was"),
        pb.Proposal(number=1, verdict=pb.VERDICT_KEEP, description="deeper"),
        pb.Proposal(number=2, verdict=pb.VERDICT_DISCARD, description="wider"),
    ]
    print_summary(open_console(), pb.Session(lab="/lab", tag="lab"), proposals, last=1)
    shown = capsys.readouterr().out
    assert "Kept: 1 of 2 proposals" in shown
    assert "wider" in shown
    assert "as it was" not in shown
