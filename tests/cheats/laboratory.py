"""A trainer process of one tier, with everything around it that a cheat may reach for."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

from tests.cheats.candidates import Candidate, read_candidates

CANARY = "canary-7f3a91c04be2"
BASELINE = "unchanged"
FLAGS = [
    "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--slots", "2", "--threads", "1",
    "--scratch-limit-gib", "0.06", "--output-limit-mib", "1", "--memory-limit-gib", "1.5",
    "--process-limit", "100", "--setup-limit-seconds", "300", "--queue-capacity", "500", "--exit-with-parent",
]  # fmt: skip
RUN_SECONDS = 400.0


class Laboratory:
    """Submits the named candidates when it is entered, and the baseline if any is compared with it."""

    def __init__(self, tier: str, folder: Path, data: Path, names: list[str]) -> None:
        self.tier, self.folder, self.data = tier, folder, data
        self._names = names
        # Not below /tmp, where bubblewrap has a memory of its own.
        self.outside = Path(tempfile.mkdtemp(prefix="outside-", dir="/var/tmp")) / "outside.txt"
        self.mark = f"mark-{os.getpid()}-{tier}"

    def __enter__(self) -> Laboratory:
        self.outside.write_text("untouched")
        self._listen()
        environment = {**os.environ, "ANTHROPIC_API_KEY": CANARY, "HF_TOKEN": CANARY}
        command = [sys.executable, "-m", "trainer", *FLAGS, "--sandbox", self.tier]
        command += ["--data", str(self.data), "--state", str(self.folder / "state")]
        self._errors = (self.folder / "stderr").open("w")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )
        assert self.process.stdout is not None
        target = json.loads(self.process.stdout.readline())["grpc"]
        self._channel = grpc.insecure_channel(target)
        self.stub = rpc.TrainerServiceStub(self._channel)
        everyone = {one.name: one for kind in ("cheats", "honest") for one in read_candidates(kind)}
        compared = any(everyone[name].expected == ["SUCCEEDED"] for name in self._names)
        for name in dict.fromkeys([*([BASELINE] if compared else []), *self._names]):
            self._submit(everyone[name])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._channel.close()
        self.process.terminate()
        self.process.wait(timeout=20)
        self._errors.close()
        shutil.rmtree(self.outside.parent)
        for server in self._servers:
            server.close()

    def known(self) -> dict[str, str]:
        """What a cheat may be told."""
        dataset = next(path for path in self.data.iterdir() if (path / "manifest.json").is_file())
        origins = json.loads((dataset / "manifest.json").read_text())["origin_files"]
        return {
            "ORIGIN": origins[0], "OUTSIDE": str(self.outside), "CANARY": CANARY, "MARK": self.mark,
            "PORT": str(self._port), "SOCKET": self._socket_path, "ABSTRACT": self.mark,
            "COMPILE_CACHE": str(self.folder / "state" / "compile-cache"),
        }  # fmt: skip

    def result(self, name: str) -> pb.Experiment:
        """Waits for the end of a candidate."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            request = pb.WatchExperimentRequest(experiment_id=name)
            try:
                for _ in self.stub.WatchExperiment(request, timeout=60):
                    pass
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
                continue
            return self.stub.GetExperiment(pb.GetExperimentRequest(experiment_id=name), timeout=10).experiment
        raise AssertionError(f"{name} did not end within {RUN_SECONDS} s")

    def log(self, name: str) -> str:
        """All that a candidate printed, while it trained and while it was scored."""
        written = (self.folder / "state" / "runs" / name / "log.txt").read_text(encoding="utf-8")
        events = self.stub.WatchExperiment(pb.WatchExperimentRequest(experiment_id=name), timeout=60)
        return "\n".join([written, *(event.log.text for event in events if event.HasField("log"))])

    def _submit(self, candidate: Candidate) -> None:
        request = pb.StartExperimentRequest(
            experiment_id=candidate.name,
            train_source=candidate.source(self.known()),
            seed=pb.SeedGrant(value=20_260_101),
            preset="tiny",
            origin=pb.SOURCE_ORIGIN_MODEL,
        )
        if "budget" in candidate.head:
            kind, amount = candidate.head["budget"].split()
            request.budget.kind = pb.BudgetKind.Value(f"BUDGET_KIND_{kind.upper()}")
            request.budget.amount = float(amount)
        if "wall" in candidate.head:
            request.wall_limit.FromSeconds(int(candidate.head["wall"]))
        self.stub.StartExperiment(request, timeout=30)

    def _listen(self) -> None:
        """Servers on this machine that no candidate may reach."""
        tcp = socket.create_server(("127.0.0.1", 0))
        self._port = tcp.getsockname()[1]
        self._socket_path = tempfile.mktemp(prefix="s", dir=tempfile.gettempdir())
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(self._socket_path)
        unix.listen()
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + self.mark)
        abstract.listen()
        self._servers = [tcp, unix, abstract]
