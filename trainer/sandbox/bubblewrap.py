"""The command line of bubblewrap for a plan: new namespaces of every kind, and only the named files."""

from __future__ import annotations

import os

from trainer.sandbox.plan import Plan

PROGRAM = "bwrap"
MOST_ARGUMENTS = 9000  # that the program takes


def bubblewrap_command(plan: Plan, seccomp_fd: int, program: str = PROGRAM) -> list[str]:
    """The arguments; the filter is read from seccomp_fd (-1: none). Raises OSError for more files to hide
    than the program takes."""
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--hostname", "sandbox"]
    if seccomp_fd >= 0:
        command += ["--seccomp", str(seccomp_fd)]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(plan.tmp_bytes), "--tmpfs", "/dev/shm"]
    command += ["--size", str(plan.tmp_bytes), "--tmpfs", "/tmp"]
    for device in plan.devices:
        command += ["--dev-bind-try", device, device]
    for path in sorted(set(plan.read)):  # a folder before what lies below it
        command += _show(path)
    for path in plan.masked:
        command += _hide(path, plan.mask or "/dev/null")
    for path in plan.write:
        command += ["--bind", path, path]
    if len(command) > MOST_ARGUMENTS:
        raise OSError(
            f"{len(plan.masked)} files to hide are more than bubblewrap takes, and this kernel has no "
            "Landlock to hide them by"
        )
    return [*command, "--remount-ro", "/", "--chdir", plan.folder, "--", *plan.command]


def _show(path: str) -> list[str]:
    if os.path.islink(path):
        target = os.readlink(path)
        return ["--symlink", target, path]
    return ["--ro-bind-try", path, path]


def _hide(path: str, mask: str) -> list[str]:
    if os.path.isdir(path):
        return ["--tmpfs", path]
    return ["--ro-bind", mask, path] if os.path.exists(path) else []
