"""The container tier: one container a run, this machine's files bound into an image that only has to exist.

An engine does not pass descriptors on, so each one that a plan keeps becomes a named pipe, and a small
process of the supervisor copies between the two.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

from trainer.sandbox.plan import Plan

PROGRAM = "docker"
LABEL = "autoresearch.candidate"
ENGINE_SECONDS = 20.0
# Runs inside: opens each pipe under the number that the program expects (a shell knows only nine).
_OPEN_PIPES = """
import os, sys
end = sys.argv.index("--")
for one in sys.argv[1:end]:
    number, mode, path = one.split(":", 2)
    opened = os.open(path, os.O_WRONLY if mode == "w" else os.O_RDONLY)
    os.dup2(opened, int(number)) if opened != int(number) else os.set_inheritable(opened, True)
    if opened != int(number):
        os.close(opened)
os.execv(sys.argv[end + 1], sys.argv[end + 1:])
"""
_ENGINES_OWN = ("/proc", "/sys", "/dev")


def container_name(supervisor: int) -> str:
    return f"autoresearch-{supervisor}"


def container_command(plan: Plan, name: str, pipes: Path) -> list[str]:
    """What to execute: the engine's client in the foreground."""
    limits = plan.limits
    command = [*engine_command(plan.engine), "run", "--name", name, "--label", f"{LABEL}={plan.folder}"]
    command += ["--network", "none", "--read-only", "--cap-drop", "ALL"]
    command += ["--security-opt", "no-new-privileges", "--user", f"{os.getuid()}:{os.getgid()}"]
    command += [
        "--tmpfs",
        f"/tmp:rw,exec,size={plan.tmp_bytes}",
        "--ulimit",
        "core=0",
        "--workdir",
        plan.folder,
    ]
    if limits.processes:
        command += ["--pids-limit", str(limits.processes)]
    if limits.memory_bytes:
        command += ["--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes)]
    if limits.file_bytes:
        command += ["--ulimit", f"fsize={limits.file_bytes}"]
    if plan.devices:
        command += ["--gpus", f'"device={plan.environment.get("CUDA_VISIBLE_DEVICES", "all")}"']
    for path in sorted(set(plan.read)):
        if os.path.exists(path) and not os.path.islink(path) and not path.startswith(_ENGINES_OWN):
            command += ["--volume", f"{path}:{path}:ro"]
    for path in plan.masked:
        if os.path.isdir(path):
            command += ["--tmpfs", f"{path}:ro,size=4k"]
        else:
            command += ["--volume", f"{plan.mask}:{path}:ro"]
    for path in (*plan.write, str(pipes)):
        command += ["--volume", f"{path}:{path}:rw"]
    for variable, value in plan.environment.items():
        command += ["--env", f"{variable}={value}"]
    opened = [f"{fd}:{'w' if is_written(fd) else 'r'}:{pipes}/{fd}" for fd in plan.keep_fds]
    python = plan.command[0]
    return [*command, plan.image, python, "-S", "-E", "-P", "-c", _OPEN_PIPES, *opened, "--", *plan.command]


def engine_command(engine: str) -> list[str]:
    """The client with the engine's address; empty takes the client's own default."""
    return [PROGRAM, "-H", engine] if engine else [PROGRAM]


def start_pumps(plan: Plan, pipes: Path) -> None:
    """Makes a named pipe for each kept descriptor and forks a process that copies."""
    pipes.mkdir(mode=0o700)
    for descriptor in plan.keep_fds:
        path = pipes / str(descriptor)
        os.mkfifo(path, 0o600)
        if os.fork() == 0:
            try:
                _pump(descriptor, path, [fd for fd in plan.keep_fds if fd != descriptor])
            finally:
                os._exit(0)


def _pump(descriptor: int, path: Path, others: list[int]) -> None:
    for other in others:  # a held end would keep its reader from seeing the end
        os.close(other)
    if is_written(descriptor):
        source, target = os.open(path, os.O_RDONLY), descriptor
    else:
        source, target = descriptor, os.open(path, os.O_WRONLY)
    while data := os.read(source, 1 << 16):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def is_written(descriptor: int) -> bool:
    """Whether the candidate writes to a kept descriptor."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY


def remove_container(plan: Plan, name: str) -> bool:
    """Ends a container with all its processes; True when it had run out of memory."""
    engine = engine_command(plan.engine)
    asked = [*engine, "inspect", "--format", "{{.State.OOMKilled}}", name]
    state = _run(asked)
    _run([*engine, "rm", "--force", "--volumes", name])
    return state.strip() == "true"


def remove_containers_below(folder: str, engine: str) -> None:
    """Ends every container of a run, also those whose supervisor was killed."""
    client = engine_command(engine)
    listed = _run([*client, "ps", "-a", "--format", f'{{{{.Names}}}} {{{{.Label "{LABEL}"}}}}'])
    for line in listed.splitlines():
        name, _, place = line.partition(" ")
        if place.startswith(folder.rstrip("/") + "/"):
            _run([*client, "rm", "--force", "--volumes", name])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
