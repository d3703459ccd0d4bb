"""A candidate of the tier Landlock is another user where the trainer is root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.test_sandbox import USABLE, run_plan, simple_plan
from trainer.sandbox.candidate_plan import PACKAGE, CandidateFiles, candidate_plan
from trainer.sandbox.plan import Limits
from trainer.sandbox.process_cap import kernel_cap
from trainer.sandbox.user import FIRST_USER, USER_COUNT, spare_user

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or spare_user(0) is None or "LANDLOCK" not in USABLE,
    reason="needs Landlock, and to be root with the capabilities to become another user",
)


def test_users_with_a_name_or_a_process_are_passed_over() -> None:
    first = spare_user(7)
    assert first is not None
    assert FIRST_USER <= first < FIRST_USER + USER_COUNT
    assert spare_user(USER_COUNT + 7) == first
    assert spare_user(8) != first


def test_it_is_nobody_with_the_one_capability(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups())\n"
        "fields = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print([fields[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'NoNewPrivs')])\n"
        "os.mkdir('mine'); open('mine/file', 'w').write('x')\n"
        "print(os.popen('cat mine/file').read())\n"
        "acts = (lambda: os.setuid(0), lambda: os.kill(os.getppid(), 0), lambda: os.chown('mine', 0, 0))\n"
        "for act in (*acts, lambda: os.nice(-5), lambda: os.setgroups([0])):\n"
        "    try: act(); print('done')\n"
        "    except PermissionError: print('refused')\n"
    )
    ending, output, errors = run_plan(simple_plan(tmp_path, code, "LANDLOCK"), tmp_path)
    assert ending.code == 0, errors
    users, capabilities, file, *acts = output.splitlines()
    number = int(users[1:].split(",")[0])
    assert FIRST_USER <= number < FIRST_USER + USER_COUNT
    assert users == f"({number}, {number}, {number}) ({number}, {number}, {number}) []"
    assert capabilities == str(["0000000000000004"] * 4 + ["1"])
    assert file == "x"
    assert acts == ["refused"] * 5
    assert (tmp_path / "scratch" / "mine" / "file").stat().st_uid == number


def test_it_reads_what_is_shown_and_nothing_else(tmp_path: Path) -> None:
    """Also where only root may look: the rules of Landlock decide."""
    shown = tmp_path / "closed" / "shown"
    shown.mkdir(parents=True)
    (shown / "open.txt").write_text("open")
    (tmp_path / "closed" / "secret.txt").write_text("secret")
    (shown / "masked.txt").write_text("masked")
    for path in (shown / "open.txt", shown, tmp_path / "closed"):
        path.chmod(0o600 if path.is_file() else 0o700)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        f"for path in ('{shown}/open.txt', '{shown}/masked.txt', '{shown}/../secret.txt', '/etc/shadow'):\n"
        "    try: print(open(path).read())\n"
        "    except PermissionError: print('refused')\n"
        f"try: open('{shown}/open.txt', 'w')\n"
        "except PermissionError: print('refused')\n"
    )
    plan = candidate_plan(
        ["-c", code],
        CandidateFiles((shown,), (), (str(shown / "masked.txt"),)),
        tier="LANDLOCK",
        scratch=scratch,
        environment={},
        limits=Limits(wall_seconds=20),
    )
    ending, output, errors = run_plan(plan, tmp_path)
    assert ending.code == 0, errors
    assert output.split() == ["open", *["refused"] * 4]


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_compiler_finds_a_folder_for_its_temporary_files(tmp_path: Path) -> None:
    """Triton and torch's compiler call one; it asks access(), which knows no capabilities."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    code = (
        "import subprocess\n"
        "open('one.c', 'w').write('int main(void) { return 7; }')\n"
        "subprocess.run(['cc', 'one.c', '-o', 'one'], check=True)\n"
        "print(subprocess.run(['./one']).returncode)\n"
    )
    ending, output, errors = run_plan(simple_plan(closed, code, "LANDLOCK"), closed)
    assert ending.code == 0, errors
    assert output.strip() == "7"


def bomb(said: str) -> str:
    """A program that forks until it is refused, prints what `said` names, and ends its children."""
    return (
        "children = []\n"
        "try:\n"
        "    while len(children) < 100:\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            time.sleep(60)\n"
        "        children.append(child)\n"
        "except BlockingIOError:\n"
        f"    print({said})\n"
        "for child in children:\n"
        "    os.kill(child, 9)\n"
    )


def test_the_kernel_bounds_its_processes_without_a_control_group() -> None:
    program = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from trainer.sandbox.process_cap import limit_processes\n"
        "from trainer.sandbox.user import become, spare_user\n"
        "user = spare_user(os.getpid())\n"
        "limit_processes(12, user)\n"
        "become(user)\n"
    ) + bomb("'bounded', len(children)")
    command = [sys.executable, "-S", "-E", "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "bounded 11"


def test_a_bomb_passes_the_watchdogs_cap_before_the_kernel_stops_it(tmp_path: Path) -> None:
    """Otherwise nobody could say why the run failed. The room is for processes in other containers."""
    code = "import os, time\n" + bomb("len(children) + 1")
    plan = simple_plan(tmp_path, code, "LANDLOCK", processes=12)
    (tmp_path / "plan.json").write_text(plan.to_json())
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from trainer.sandbox.enter import start_candidate\n"
        "from trainer.sandbox.plan import parse_plan\n"
        "os.waitpid(start_candidate(parse_plan(open(sys.argv[2]).read()), -1, None), 0)\n"
    )
    command = [
        sys.executable,
        "-S",
        "-E",
        "-P",
        "-c",
        program,
        str(PACKAGE.parent),
        str(tmp_path / "plan.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(kernel_cap(12))], done.stderr
    assert kernel_cap(12) > 12
