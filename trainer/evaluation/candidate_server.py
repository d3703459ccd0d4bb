"""A candidate process that answers logits, started in its sandbox by the evaluator."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from trainer.evaluation.device_buffer import DeviceBuffer
from trainer.evaluation.job import EvaluationJob
from trainer.evaluation.overheard import Overheard
from trainer.evaluation.scoring import Scores
from trainer.harness.logit_channel import (
    HELLO,
    CandidateFailedError,
    LogitClient,
    logits_offset,
    memory_bytes,
)
from trainer.runs.output import printable
from trainer.runs.rules import CANDIDATE_REASONS
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan
from trainer.sandbox.launch import has_supervisor, supervisor_command, supervisor_environment
from trainer.sandbox.plan import Limits, Plan
from trainer.sandbox.usage import cpu_seconds

FILE_LIMIT = 1 << 30
# What the supervisor may take to end a tree, which must be gone before another instance begins.
END_SECONDS, ENGINE_SECONDS = 15.0, 60.0
TOUCHED = 32 << 20  # bytes of shared memory that are touched ahead of the first request
HOST, CUDA_IPC = "host", "cuda_ipc"


class CandidateServer(AbstractContextManager["CandidateServer"]):
    """One fresh instance. Tokens and logits go through sealed shared memory where the system has it.

    It loads nothing of the candidate before wait_ready. What it prints goes to stderr until it is first asked
    for logits: after that it has seen validation rows, and neither its words nor those of its failures are
    passed on, unless job.heard. With a buffer logits stay on the device if the candidate can open it:
    logit_path says which it became, and path_reason why not.
    """

    def __init__(
        self,
        job: EvaluationJob,
        name: str,
        length: int,
        vocabulary: int,
        buffer: DeviceBuffer | None = None,
    ) -> None:
        self._job, self._buffer = job, buffer
        self.logit_path, self.path_reason = HOST, ""
        self.start_cpu_seconds = 0.0  # what loading all but the candidate took
        self._folder = Path(job.work) / name
        self._vocabulary = vocabulary
        self._offset = logits_offset(job.batch_rows, length)
        size = memory_bytes(job.batch_rows, length, vocabulary)
        self._memory_fd, self._memory = open_shared_memory(size, wanted=job.tier != "CONTAINER")
        self._overheard = Overheard(sys.stderr.fileno())
        self._fds: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._client: LogitClient | None = None

    def __enter__(self) -> Self:
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        self._fds = [request_write, reply_read]
        try:
            self._start(request_read, reply_write)
        finally:
            os.close(request_read)
            os.close(reply_write)
        if self._memory is not None:  # its pages come now, while the process loads, not when answers are due
            self._forget(min(len(self._memory), TOUCHED))
        self._client = LogitClient(
            request_write, reply_read, self._memory, self._offset, self._job.answer_seconds
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the instance with all its processes; no error where that has been done."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(
                signal.SIGTERM if has_supervisor() else getattr(signal, "SIGKILL", signal.SIGTERM)
            )
            try:
                process.wait(timeout=ENGINE_SECONDS if self._job.tier == "CONTAINER" else END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._overheard.close()
        while self._fds:
            os.close(self._fds.pop())
        if self._memory is not None:
            self._memory.close()
            os.close(self._memory_fd)
            self._memory = None

    def wait_ready(self) -> int:
        """The vocabulary size that the candidate states. Raises ChannelError or CandidateFailedError."""
        self._answering().wait_held()
        self.start_cpu_seconds = self.cpu_seconds()
        self._answering().begin()
        vocabulary = self._answering().wait_ready()
        if self._buffer is not None:
            self.path_reason = self._open_device(self._buffer)
            self.logit_path = HOST if self.path_reason else CUDA_IPC
        return vocabulary

    def logits(self, tokens: npt.NDArray[np.int64]) -> Scores:
        """Float32 [B, T, V] in private memory, numpy or (path cuda_ipc) torch on the device. Raises
        ChannelError or CandidateFailedError."""
        return next(self.logits_in_turn([tokens]))

    def logits_in_turn(self, requests: Iterable[npt.NDArray[np.int64]]) -> Iterator[Scores]:
        """The same of several requests. In private memory each is sent before the answer to the one before it
        is handed out: the candidate works on while that is judged. All answers must be taken."""
        if not self._job.heard:
            self._overheard.mute()
        try:
            if self._buffer is not None and self.logit_path == CUDA_IPC:
                for tokens in requests:
                    yield self._ask_device(self._buffer, tokens)
                return
            asked: npt.NDArray[np.int64] | None = None
            for tokens in requests:
                answer = None if asked is None else self._take(asked)
                self._ask(tokens)
                asked = tokens
                if answer is not None:
                    yield answer
            if asked is not None:
                yield self._take(asked)
        except CandidateFailedError as error:
            raise error if self._job.heard else unspoken(error) from None

    def _ask_device(self, buffer: DeviceBuffer, tokens: npt.NDArray[np.int64]) -> Scores:
        buffer.clear(tokens.size * self._vocabulary)
        self._answering().answer_on_device(tokens.astype(np.int32))
        return buffer.read((*tokens.shape, self._vocabulary))

    def _ask(self, tokens: npt.NDArray[np.int64]) -> None:
        if self._memory is not None:
            self._forget(self._offset + tokens.size * self._vocabulary * 4)
        self._answering().ask(tokens.astype(np.int32))

    def _take(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        out = np.empty((*tokens.shape, self._vocabulary), dtype=np.float32)
        self._answering().take(out)
        return out

    def _forget(self, end: int) -> None:
        """NaN for the logits up to this byte: what nobody writes must not look like an answer."""
        assert self._memory is not None
        np.frombuffer(self._memory, dtype=np.float32)[self._offset // 4 : end // 4] = np.nan

    def _open_device(self, buffer: DeviceBuffer) -> str:
        """Why the candidate's answers cannot stay on the device; empty if they can."""
        try:
            buffer.clear(1)
            self._answering().open_device()
            arrived = float(buffer.read((1,))[0]) == HELLO
        except CandidateFailedError as error:
            return printable(error.message)[:200]
        except (RuntimeError, AssertionError) as error:  # torch's, without CUDA an assertion
            return str(error)[:200] or type(error).__name__
        return "" if arrived else "what the candidate writes does not arrive"

    def cpu_seconds(self) -> float:
        """CPU time that the instance has used; 0 where that cannot be told."""
        return cpu_seconds(self._process.pid) if self._process is not None and has_supervisor() else 0.0

    def _answering(self) -> LogitClient:
        assert self._client is not None
        return self._client

    def _start(self, request_fd: int, reply_fd: int) -> None:
        self._folder.mkdir(parents=True)
        plan = self._plan(request_fd, reply_fd)
        command, environment = list(plan.command), dict(plan.environment)
        if has_supervisor():
            # Nobody reads the report: a broken channel is all that the evaluator needs to know.
            status_fd = os.open(os.devnull, os.O_WRONLY)
            command = supervisor_command(plan, self._folder.with_suffix(".plan.json"), status_fd)
            environment, kept = supervisor_environment(), (status_fd, *plan.keep_fds)
        else:
            status_fd, kept = -1, plan.keep_fds
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=plan.folder,
                stdin=subprocess.DEVNULL,
                stdout=self._overheard.descriptor,
                stderr=self._overheard.descriptor,
                pass_fds=kept if os.name == "posix" else (),
                start_new_session=True,
            )
        finally:
            if status_fd >= 0:
                os.close(status_fd)
            self._overheard.release()
            if self._buffer is not None:
                self._buffer.close_descriptor()

    def _plan(self, request_fd: int, reply_fd: int) -> Plan:
        job = self._job
        command = ["-m", "trainer.harness.serve", job.train_py, job.checkpoint]
        command += ["--request-fd", str(request_fd), "--reply-fd", str(reply_fd)]
        command += ["--device", job.device, "--threads", str(job.threads), "--hold"]
        kept = [request_fd, reply_fd]
        if self._memory is not None:
            command += ["--memory-fd", str(self._memory_fd), "--memory-bytes", str(len(self._memory))]
            kept.append(self._memory_fd)
        if self._buffer is not None:
            floats = str(self._buffer.floats)
            command += ["--device-fd", str(self._buffer.descriptor), "--device-floats", floats]
            kept.append(self._buffer.descriptor)
        if job.compile == "on":
            command += ["--compile", "on"]
        if job.attention != "auto":
            command += ["--attention", job.attention]
        return candidate_plan(
            command,
            CandidateFiles((Path(job.train_py), Path(job.checkpoint)), (), job.masked),
            tier=job.tier,
            scratch=self._folder,
            environment={},
            limits=Limits(job.memory_bytes, job.processes, FILE_LIMIT, FILE_LIMIT, 10_000),
            keep_fds=kept,
            gpus=job.gpus,
            threads=job.threads,
            container=job.container,
            scored=True,
        )


def unspoken(error: CandidateFailedError) -> CandidateFailedError:
    """The same failure in words of ours: a model could put what it was asked into its own."""
    reason = error.reason if error.reason in CANDIDATE_REASONS else "RUNTIME_ERROR"
    if "forward() must return" in error.message:
        return CandidateFailedError(reason, "forward() must return [B, T, V]")
    return CandidateFailedError(
        reason, f"forward() failed while it was scored ({reason}); python -m trainer.evaluate shows how"
    )


def open_shared_memory(size: int, *, wanted: bool = True) -> tuple[int, mmap.mmap | None]:
    """A memory file of fixed size: sealed against growing, shrinking and further seals. (-1, None) where
    the system has none or it is not wanted: a container cannot be given a descriptor."""
    if not wanted or not hasattr(os, "memfd_create"):
        return -1, None
    import fcntl

    descriptor = os.memfd_create("logits", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor, mmap.mmap(descriptor, size)
