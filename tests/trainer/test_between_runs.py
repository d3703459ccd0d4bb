"""What one run may not do to another, nor tell it, though both may be one user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.test_sandbox import USABLE, linux, run_plan, simple_plan


@linux
@pytest.mark.parametrize("tier", ["BUBBLEWRAP", "LANDLOCK"])
def test_limits_and_priorities_are_changed_of_oneself_only(tier: str, tmp_path: Path) -> None:
    if tier not in USABLE:
        pytest.skip(f"the tier {tier} does not work on this machine")
    code = (
        "import os, resource as r\n"
        "r.setrlimit(r.RLIMIT_CORE, (0, 0)); os.nice(1)\n"
        "if os.fork() == 0:\n"
        "    for call in (lambda: r.prlimit(os.getppid(), r.RLIMIT_CPU, (1, 1)),\n"
        "                 lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),\n"
        "                 lambda: os.setpriority(os.PRIO_USER, 0, 19)):\n"
        "        try: call(); print('changed', flush=True)\n"
        "        except PermissionError: print('refused', flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    ending, out, errors = run_plan(simple_plan(tmp_path, code, tier), tmp_path)
    assert ending.code == 0, errors
    assert out.split() == ["refused"] * 3


@linux
@pytest.mark.parametrize("scored", [True, False], ids=["scored", "training"])
@pytest.mark.parametrize("tier", ["BUBBLEWRAP", "LANDLOCK"])
def test_no_file_that_two_runs_may_read_tells_one_of_the_other(
    tier: str, scored: bool, tmp_path: Path
) -> None:
    """Neither by who reads it nor by locks of a scored process; others are taken, as compilers need them."""
    if tier not in USABLE:
        pytest.skip(f"the tier {tier} does not work on this machine")
    code = (
        "import ctypes, fcntl, os, sys\n"
        "library = ctypes.CDLL(None)\n"
        "file, again = (os.open(sys.executable, os.O_RDONLY) for _ in range(2))\n"
        "print(library.inotify_init(), library.inotify_init1(0))\n"
        "def tried(call, *arguments):\n"
        "    try: return call(*arguments) is not False\n"
        "    except OSError: return False\n"
        "print(tried(os.preadv, file, [bytearray(9)], 0, os.RWF_NOWAIT),\n"
        "      tried(fcntl.fcntl, file, fcntl.F_SETLEASE, fcntl.F_RDLCK),\n"
        "      tried(fcntl.fcntl, os.open('/usr', os.O_RDONLY), fcntl.F_NOTIFY, 1))\n"
        "both = fcntl.LOCK_EX | fcntl.LOCK_NB\n"
        "print([tried(fcntl.flock, one, both) for one in (file, again)])\n"
        "print(tried(fcntl.lockf, file, fcntl.LOCK_SH | fcntl.LOCK_NB),\n"
        "      tried(fcntl.fcntl, file, fcntl.F_GETFD))\n"
    )
    plan = replace(simple_plan(tmp_path, code, tier), scored=scored)
    ending, out, errors = run_plan(plan, tmp_path)
    assert ending.code == 0, errors
    locks = "[True, True]" if scored else "[True, False]"
    assert out.splitlines() == ["-1 -1", "False False False", locks, "True True"]
