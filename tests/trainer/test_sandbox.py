"""The sandbox's parts: plans, the filter, the rules, the supervisor, with real processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.sandbox.bubblewrap import bubblewrap_command
from trainer.sandbox.candidate_plan import (
    PACKAGE,
    CandidateFiles,
    candidate_environment,
    candidate_plan,
)
from trainer.sandbox.launch import read_ending, supervisor_command, supervisor_environment
from trainer.sandbox.plan import Limits, Plan, parse_plan
from trainer.sandbox.seccomp import ABSENT, REFUSED, build_filter
from trainer.sandbox.tiers import choose_tier

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
USABLE = [tier.value for tier in choose_tier("auto").usable]


def run_plan(plan: Plan, folder: Path, python: str = sys.executable, prefix: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
    """Runs a plan under the supervisor; its ending, and what was printed."""
    read_fd, write_fd = os.pipe()
    command = supervisor_command(plan, folder / "plan.json", write_fd)
    command[0] = python
    done = subprocess.run(
        [*prefix, *command],
        pass_fds=(write_fd,),
        env=supervisor_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as stream:
        report = stream.read()
    return read_ending(report, done.returncode), done.stdout, done.stderr


def simple_plan(folder: Path, code: str, tier: str = "NONE", **limits: float) -> Plan:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return candidate_plan(
        ["-c", code],
        CandidateFiles((), ()),
        tier=tier,
        scratch=scratch,
        environment={},
        limits=Limits(**{"wall_seconds": 20.0, **limits}),  # type: ignore[arg-type]
    )


def test_a_plan_survives_json() -> None:
    plan = Plan(
        ("a",), {"B": "c"}, "/d", "LANDLOCK", ("/e",), ("/f",), ("/g",), limits=Limits(1, 2, 3, 4, 5, 6.0)
    )
    assert parse_plan(plan.to_json()) == plan


def test_the_environment_is_an_allow_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("LD_PRELOAD", "canary")
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    made = candidate_environment({"RUN": "x"}, tmp_path, "LANDLOCK", (), 2)
    assert "canary" not in made.values()
    assert (made["RUN"], made["NCCL_NVLS_ENABLE"]) == ("x", "0")
    assert made["OMP_NUM_THREADS"] == "2"
    assert made["HOME"] == made["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_well_formed(machine: str) -> None:
    program = build_filter(machine)
    instructions = [struct.unpack("<HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]
    for position, (code, true, false, _) in enumerate(instructions):
        if code & 0x07 == 0x05:  # a jump must land inside
            assert position + 1 + max(true, false) < len(instructions)
    assert instructions[-1][0] == 0x06
    column = ["x86_64", "aarch64"].index(machine)
    tested = {k for code, _, _, k in instructions if code == 0x15}
    for table in (REFUSED, ABSENT):
        assert all(numbers[column] in tested for numbers in table.values() if numbers[column] >= 0)


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(OSError) as caught:
        build_filter("vax")
    assert caught.value.errno == errno.ENOSYS


def test_bubblewrap_shows_only_what_a_plan_names(tmp_path: Path) -> None:
    plan = Plan(
        ("prog",), {}, str(tmp_path), "BUBBLEWRAP", (str(tmp_path),), (str(tmp_path),), (str(tmp_path),)
    )
    command = bubblewrap_command(plan, 9)
    assert command[1] == "--unshare-all"
    assert "--die-with-parent" in command
    assert command[command.index("--seccomp") + 1] == "9"
    assert command[-2:] == ["--", "prog"]


@linux
@pytest.mark.parametrize("more", [0, 3_500], ids=["few", "more than bubblewrap takes"])
@pytest.mark.parametrize("tier", ["BUBBLEWRAP", "LANDLOCK"])
def test_a_masked_file_cannot_be_read_and_its_neighbour_can(tier: str, more: int, tmp_path: Path) -> None:
    """And what a run needs beside it still works: pipes, memory files, devices, moves between folders."""
    if tier not in USABLE:
        pytest.skip(f"the tier {tier} does not work on this machine")
    shown = Path("/var/tmp") / f"shown-{os.getpid()}-{tier}"
    shown.mkdir()
    try:
        for name in ("open.txt", "secret.txt", *(f"{number}.txt" for number in range(more))):
            (shown / name).write_text(name)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        code = (
            "import os, subprocess\n"
            f"print(open('{shown}/open.txt').read())\n"
            f"for way in ('', '/proc/self/root', '/var/tmp/../..'):\n"
            f"    try: print(open(way + '{shown}/secret.txt').read())\n"
            "    except PermissionError: print('refused')\n"
            "print(subprocess.run(['cat', '/dev/null'], capture_output=True).returncode)\n"
            "os.mkdir('a'); os.mkdir('b'); open('a/x', 'w').close()\n"
            "os.rename('a/x', 'b/x'); print(os.listdir('b'))\n"
            "memory = os.memfd_create('m'); os.write(memory, b'kept')\n"
            "print(open(f'/proc/self/fd/{memory}').read())\n"
        )
        files = CandidateFiles((shown,), (), tuple(str(path) for path in shown.glob("[s0-9]*.txt")))
        plan = candidate_plan(
            ["-c", code], files, tier=tier, scratch=scratch, environment={}, limits=Limits(wall_seconds=20)
        )
        _, output, errors = run_plan(plan, tmp_path)
        assert output.split() == ["open.txt", "refused", "refused", "refused", "0", "['x']", "kept"], errors
    finally:
        shutil.rmtree(shown)


@linux
@pytest.mark.parametrize(
    ("code", "limits", "expected"),
    [
        ("import time; time.sleep(60)", {"wall_seconds": 0.3}, "wall"),
        ("x = [bytes(1 << 20) + b'1' for _ in range(1 << 20)]", {"memory_bytes": 200 << 20}, "memory"),
        ("import mmap, os, time\nfor _ in range(3): os.fork()\n"
         "mine = mmap.mmap(-1, 40 << 20); mine.write(b'1' * (40 << 20)); time.sleep(20)",
         {"memory_bytes": 200 << 20}, "memory"),
        ("import os, time\nkept = [os.memfd_create('m') for _ in range(9)]\n"
         "for one in kept * 5: os.write(one, bytes(8 << 20))\ntime.sleep(20)",
         {"memory_bytes": 200 << 20}, "memory"),
        ("from threading import Timer\nfor _ in range(60):\n    Timer(20, print).start()",
         {"processes": 40}, "processes"),
        ("import time\nfor i in range(200): open(f'{i}', 'wb').close()\ntime.sleep(20)",
         {"scratch_files": 100, "scratch_bytes": 1 << 30}, "files"),
        ("import time\nfor i in range(40): open(f'{i}', 'wb').write(b'1' * (1 << 20))\ntime.sleep(20)",
         {"scratch_bytes": 20 << 20}, "scratch"),
    ],
)  # fmt: skip
def test_each_cap_ends_the_tree_and_is_named(
    code: str, limits: dict[str, float], expected: str, tmp_path: Path
) -> None:
    ending, _, _ = run_plan(simple_plan(tmp_path, code, "NONE", **limits), tmp_path)
    assert ending.limit == expected
    assert ending.signal == 9


@linux
def test_a_large_file_is_refused_by_the_system(tmp_path: Path) -> None:
    plan = simple_plan(tmp_path, "open('big', 'wb').truncate(1 << 40)", file_bytes=1 << 20)
    ending, _, errors = run_plan(plan, tmp_path)
    assert ending.code == 1
    assert "File too large" in errors


@pytest.mark.parametrize("tier", [tier for tier in USABLE if tier in ("LANDLOCK", "BUBBLEWRAP")])
def test_a_process_names_its_own_threads_and_nobody_elses(tier: str, tmp_path: Path) -> None:
    """What NVIDIA's driver does when it starts: it fails where it is refused."""
    code = (
        "import os, threading\n"
        "def name(path):\n"
        "    try: open(path, 'w').write('mine'); return open(path).read().strip()\n"
        "    except OSError as error: return type(error).__name__\n"
        "def run(): print(name(f'/proc/self/task/{threading.get_native_id()}/comm'))\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
        f"print(name('/proc/{os.getpid()}/task/{os.getpid()}/comm'))\n"
    )
    before = Path("/proc/self/comm").read_text()
    ending, output, errors = run_plan(simple_plan(tmp_path, code, tier), tmp_path)
    assert ending.code == 0, errors
    assert output.splitlines()[0] == "mine"
    assert output.splitlines()[1] in ("PermissionError", "FileNotFoundError")
    assert Path("/proc/self/comm").read_text() == before


@linux
def test_a_container_that_cannot_be_started_leaves_no_pump_behind(tmp_path: Path) -> None:
    """A pump that waits for its pipe has this process's stdout: what is left of it would not let it end."""
    plan = replace(
        simple_plan(tmp_path, "pass", "CONTAINER"), keep_fds=(1, 1)
    )  # one pipe cannot be made twice
    ending, _, _ = run_plan(plan, tmp_path)
    assert "File exists" in ending.error


@linux
def test_a_process_that_left_its_session_is_ended_with_the_candidate(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.dup2(os.open(os.devnull, os.O_RDWR), 1); os.dup2(1, 2)\n"
        "        open('pid', 'w').write(str(os.getpid())); time.sleep(600)\n"
        "    os._exit(0)\n"
        "while not os.path.exists('pid') or not open('pid').read(): time.sleep(0.01)\n"
    )
    ending, _, errors = run_plan(simple_plan(tmp_path, code), tmp_path)
    assert ending.code == 0, errors
    pid = int((tmp_path / "scratch" / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@linux
def test_exit_codes_and_signals_are_told_apart(tmp_path: Path) -> None:
    assert run_plan(simple_plan(tmp_path, "raise SystemExit(7)"), tmp_path)[0].code == 7
    assert run_plan(simple_plan(tmp_path, "import os; os.kill(os.getpid(), 11)"), tmp_path)[0].signal == 11


@linux
def test_a_program_that_is_not_there_is_an_error_of_the_start(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    plan = Plan(("/no/such/program",), {"PATH": "/usr/bin"}, str(scratch))
    ending, _, errors = run_plan(plan, tmp_path)
    assert ending.code == 126
    assert "cannot start" in errors


@linux
def test_landlock_works_for_an_ordinary_user_without_capabilities() -> None:
    """As in a container that is not root and has dropped all capabilities."""
    if os.getuid() != 0 or shutil.which("setpriv") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root, setpriv and a system Python to become an ordinary user")
    if "LANDLOCK" not in USABLE:
        pytest.skip("the kernel has no Landlock")
    folder = Path("/var/tmp") / f"ordinary-{os.getpid()}"
    try:
        shutil.copytree(PACKAGE / "sandbox", folder / "trainer" / "sandbox")
        (folder / "trainer" / "__init__.py").touch()
        (folder / "scratch").mkdir()
        (folder / "secret.txt").write_text("secret")
        code = (
            "import socket\n"
            "open('mine', 'w').write('x')\n"
            f"secret, other = lambda: open('{folder}/secret.txt'), lambda: open('/etc/hostname')\n"
            "for act in (secret, socket.socket, other):\n"
            "    try: act(); print('done')\n"
            "    except PermissionError: print('refused')\n"
        )
        plan = Plan(
            ("/usr/bin/python3", "-S", "-c", code),
            {"PATH": "/usr/bin"},
            str(folder / "scratch"),
            "LANDLOCK",
            read=("/usr", "/lib", "/lib64", "/etc/ld.so.cache"),
            write=(str(folder / "scratch"),),
            limits=Limits(wall_seconds=20, processes=20),
        )
        (folder / "plan.json").write_text(plan.to_json())
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 65534, 65534)
        program = (
            "import sys; sys.path.insert(0, sys.argv.pop(1)); "
            "from trainer.sandbox.supervise import main; sys.exit(main())"
        )
        drop = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
                "--inh-caps=-all", "--no-new-privs")  # fmt: skip
        done = subprocess.run(
            [*drop, "/usr/bin/python3", "-S", "-c", program, str(folder), str(folder / "plan.json"), "2"],
            capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.stdout.split() == ["refused"] * 3, done.stderr
        assert json.loads(done.stderr.splitlines()[-1])["code"] == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
