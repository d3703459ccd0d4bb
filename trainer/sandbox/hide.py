"""Many files hidden inside bubblewrap or a container: the first process in there closes them to itself by
Landlock, then becomes the candidate.

A mount for each would take too long, since every mount makes the next one slower: with bubblewrap 500 take
0.3 s, 3,000 take 8 s. Folders can still be listed; what is hidden cannot be read.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from trainer.sandbox.kernel import memory_file
from trainer.sandbox.landlock import hide_files, landlock_version
from trainer.sandbox.plan import Plan

MOST_MOUNTS = 100
TIERS = ("BUBBLEWRAP", "CONTAINER")  # those that hide a file by a mount
_FOLDER = Path(__file__).resolve().parent
_IMPORTED = ("__init__.py", "hide.py", "kernel.py", "landlock.py", "plan.py")
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from trainer.sandbox.hide import main; main()"


def hide_inside(plan: Plan) -> Plan:
    """The same plan where few files are masked or the kernel has no Landlock; otherwise one without masks,
    whose command hides them first. It reads their names from a descriptor, which the candidate never gets."""
    if plan.tier not in TIERS or len(plan.masked) <= MOST_MOUNTS or landlock_version() < 1:
        return plan
    names = memory_file("masked", json.dumps(plan.masked).encode())
    python = (sys.executable, "-S", "-E", "-P", "-B", "-c", _PROGRAM)
    return replace(
        plan,
        command=(*python, str(_FOLDER.parent.parent), str(names), *plan.command),
        read=(*plan.read, *(str(_FOLDER / name) for name in _IMPORTED)),
        masked=(),
        keep_fds=(*plan.keep_fds, names),
    )


def main() -> None:
    """Never returns: becomes the command, or ends with code 126 and the reason on stderr."""
    descriptor, *command = sys.argv[1:]
    try:
        with os.fdopen(int(descriptor), encoding="utf-8") as file:
            hide_files(json.load(file))
        os.execv(command[0], command)
    except (OSError, ValueError) as error:
        os.write(2, f"sandbox: cannot hide files: {error}\n".encode())
    os._exit(126)
