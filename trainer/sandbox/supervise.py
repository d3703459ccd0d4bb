"""The supervisor: starts one candidate as a plan says, watches its caps, and ends every process of it.

Runs as a small program of its own, `python -S -c "…" PLAN STATUS_FD`. It is the subreaper of the tree, so a
process that leaves its session or loses its parent still belongs to it. It ends with the candidate, on
SIGTERM, and when the daemon dies; with a recording, when no daemon has looked after it for a while. The last
line on STATUS_FD, or the last frame of the record, is JSON: {"code", "signal", "limit", "cpu"}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from trainer.sandbox import kernel
from trainer.sandbox.container import container_name, remove_container, start_pumps
from trainer.sandbox.enter import pipes_folder, start_candidate
from trainer.sandbox.hide import hide_inside
from trainer.sandbox.plan import Plan, parse_plan
from trainer.sandbox.process_cap import kernel_cap, make_group, remove_group
from trainer.sandbox.recorder import Recorder
from trainer.sandbox.recording import read_identity
from trainer.sandbox.usage import CpuMeter, descendants, measure_scratch, measure_tree

POLL_SECONDS = 0.1
SCRATCH_EVERY = 5  # polls
OWNER_EVERY = 10  # polls
PATIENCE_SECONDS = 10.0


class Supervisor:
    """Watches one tree. `limit` names the cap that ended it, or "" for none."""

    def __init__(self, plan: Plan, status_fd: int) -> None:
        self.plan = plan
        self.status_fd = status_fd
        self.limit = ""
        self.stopping = False
        self.peak_memory = 0
        self.meter = CpuMeter(os.getpid())
        self.recorder: Recorder | None = None
        self.owned = time.monotonic()

    def run(self) -> int:
        """Starts, watches and ends the tree; returns 0 when that went well."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored ones cannot be waited for
        recording = self.plan.recording
        if recording is None or not recording.orphan_seconds:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() == 1:
                return 1  # the daemon died before the line above could tell
        self.plan = hide_inside(self.plan)
        limit = self.plan.limits.processes
        group = make_group(kernel_cap(limit)) if limit else None
        is_container = self.plan.tier == "CONTAINER"
        try:
            if recording is not None:
                self.recorder = Recorder(recording, self.meter)
            if is_container:
                start_pumps(self.plan, pipes_folder(self.plan))
                for descriptor in self.plan.keep_fds:
                    os.set_inheritable(descriptor, False)
            root = start_candidate(self.plan, self.status_fd, group)
            if self.recorder is not None:
                self.recorder.watch(root)
        except OSError as error:
            self._end_all()  # pumps that wait for a container which never came
            if group is not None:
                remove_group(group)
            self._report({"error": f"{error.strerror}: {error.filename or ''}"})
            return 1
        status = self._watch(root)
        if is_container and remove_container(self.plan, container_name(os.getpid())):
            self.limit = self.limit or "memory"
        self._end_all()
        if group is not None:
            remove_group(group)
        code = os.waitstatus_to_exitcode(status)
        usage = os.times()
        if is_container and code == 125:
            self._report({"error": "the container engine refused to start the run"})
            return 1
        fields = {
            "code": max(code, 0),
            "signal": max(-code, 0),
            "limit": self.limit,
            "cpu": max(self.meter.seconds(), usage.children_user + usage.children_system),
            "peak_memory": self.peak_memory,
        }
        self._report(fields)
        return 0

    def _watch(self, root: int) -> int:
        started = time.monotonic()
        polls = 0
        while True:
            ended, status = self._reap(root)
            if ended:
                return status
            if self.stopping:
                self.limit = "stopped"
            if self.limit or self._over_limit(time.monotonic() - started, polls):
                self._kill(root)
                return os.waitpid(root, 0)[1]
            polls += 1
            if self.recorder is None:
                time.sleep(POLL_SECONDS)
            else:
                self.recorder.wait(POLL_SECONDS)

    def _reap(self, root: int) -> tuple[bool, int]:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True, signal.SIGKILL
            if pid == root:
                return True, status
            if pid == 0:
                return False, 0

    def _over_limit(self, seconds: float, polls: int) -> bool:
        limits = self.plan.limits
        memory, tasks = measure_tree(os.getpid())
        self.peak_memory = max(self.peak_memory, memory)
        self.meter.seconds()
        if limits.wall_seconds and seconds > limits.wall_seconds:
            self.limit = "wall"
        elif limits.memory_bytes and memory > limits.memory_bytes:
            self.limit = "memory"
        elif limits.processes and tasks > limits.processes:
            self.limit = "processes"
        elif limits.scratch_bytes and polls % SCRATCH_EVERY == 0:
            size, files = measure_scratch(self.plan.write)
            if size > limits.scratch_bytes:
                self.limit = "scratch"
            elif limits.scratch_files and files > limits.scratch_files:
                self.limit = "files"
        if not self.limit and self.recorder is not None:
            if self.recorder.is_broken:
                self.limit = "disk"
            elif self.recorder.is_over_limit:
                self.limit = "output"
            elif polls % OWNER_EVERY == 0 and self._is_abandoned():
                self.limit = "abandoned"
        return bool(self.limit)

    def _is_abandoned(self) -> bool:
        recording, now = self.plan.recording, time.monotonic()
        if recording is None or not recording.orphan_seconds:
            return False
        owner = read_identity(recording.owner)
        if owner is not None and owner.is_alive():
            self.owned = now
        return now - self.owned > recording.orphan_seconds

    def _kill(self, root: int) -> None:
        try:
            os.kill(root, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _end_all(self) -> None:
        """Kills descendants until none is left. All are stopped before any is killed: a fork bomb would
        otherwise be quicker than the list of its processes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            pids = descendants(os.getpid())
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in pids:
                    try:
                        os.kill(pid, number)
                    except (ProcessLookupError, PermissionError):
                        continue
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.01)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _report(self, fields: dict[str, object]) -> None:
        if self.recorder is not None:
            self.recorder.end(fields)
            return
        try:
            os.write(self.status_fd, json.dumps(fields).encode() + b"\n")
        except OSError:
            pass  # the daemon is gone


def main() -> int:
    return Supervisor(parse_plan(Path(sys.argv[1]).read_text()), int(sys.argv[2])).run()
