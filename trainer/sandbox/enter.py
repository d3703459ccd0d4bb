"""Starting the candidate inside its tier: what the child does between fork and exec."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from pathlib import Path

from trainer.sandbox import kernel, landlock, seccomp
from trainer.sandbox.bubblewrap import bubblewrap_command
from trainer.sandbox.container import container_command, container_name
from trainer.sandbox.plan import Plan
from trainer.sandbox.process_cap import enter_group, kernel_cap, limit_processes
from trainer.sandbox.user import become, give_folders, spare_user


def start_candidate(plan: Plan, private_fd: int, group: Path | None) -> int:
    """Forks and executes; returns the process id. Whatever stops the child before exec is written to its
    stderr and ends it with code 126. private_fd is closed in the child; group caps its processes. In the tier
    Landlock it becomes another user where that is allowed, who gets the plan's folders. Raises OSError."""
    user = spare_user(os.getpid()) if plan.tier == "LANDLOCK" else None
    if user is not None:
        give_folders(plan.write, user)
    pid = os.fork()
    if pid:
        return pid
    try:
        if private_fd >= 0:
            os.close(private_fd)
        supervisor = os.getppid()
        if group is not None:
            enter_group(group)
        elif plan.limits.processes:
            limit_processes(kernel_cap(plan.limits.processes), os.getuid() if user is None else user)
        _prepare(plan)
        command = _enter(plan, supervisor, user)
        if plan.tier == "CONTAINER":
            os.execvp(command[0], command)  # the client's environment is the supervisor's
        program = shutil.which(command[0], path=plan.environment.get("PATH", os.defpath)) or command[0]
        os.execve(program, command, dict(plan.environment))
    except BaseException as error:
        os.write(2, f"sandbox: cannot start {plan.tier}: {error}\n".encode())
    os._exit(126)


def _prepare(plan: Plan) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # where the supervisor itself is killed
    os.setsid()
    os.chdir(plan.folder)
    os.umask(0o077)
    for descriptor in _open_descriptors():
        if descriptor > 2 and descriptor not in plan.keep_fds:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one by which the list was read
    for descriptor in plan.keep_fds:
        os.set_inheritable(descriptor, True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if plan.limits.file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.limits.file_bytes, plan.limits.file_bytes))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))


def _enter(plan: Plan, supervisor: int, user: int | None) -> list[str]:
    """Applies the tier to this process where it is one of the kernel's, and returns what to execute."""
    command = list(plan.command)
    if plan.tier == "NONE":
        return command
    if plan.tier != "CONTAINER":  # there it is the engine that sets it
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if plan.tier == "BUBBLEWRAP":
        program = seccomp.build_filter(
            allow_connect=True, allow_network=plan.loopback, allow_locks=not plan.scored
        )
        return bubblewrap_command(plan, kernel.memory_file("filter", program))
    if plan.tier == "CONTAINER":
        pipes = pipes_folder(plan)
        return container_command(plan, container_name(supervisor), pipes)
    if plan.tier == "LANDLOCK":
        own = f"/proc/{os.getpid()}"
        # It may name its threads: NVIDIA's driver does, and gives up (CUDA error 304) where it cannot.
        write = (*plan.write, f"{own}/task")
        landlock.restrict_files((*plan.read, own), write, plan.masked, plan.devices)
        if user is not None:
            become(user)
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # forgotten with the user
        seccomp.install_filter(seccomp.build_filter(allow_locks=not plan.scored))
        return command
    raise OSError(f"the supervisor does not know the tier {plan.tier}")


def pipes_folder(plan: Plan) -> Path:
    """Where the container tier keeps its named pipes: beside the scratch folder."""
    return Path(plan.folder).with_name(Path(plan.folder).name + ".pipes")


def _open_descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]
