"""A candidate on several devices: one process each, on a loopback of their own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from services.errors import FailedPreconditionError
from tests.trainer.daemon_process import trainerd
from tests.trainer.serving import request, watch_to_end
from tests.trainer.test_sandbox import run_plan
from trainer.presets import PRESETS
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan
from trainer.sandbox.plan import Limits
from trainer.sandbox.ranks import in_ranks
from trainer.sandbox.tiers import choose_tier
from trainer.templates import research_file

USABLE = [tier.value for tier in choose_tier("auto").usable]
bubblewrap = pytest.mark.skipif("BUBBLEWRAP" not in USABLE, reason="bubblewrap does not work here")


def run_ranks(code: str, count: int, keep_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *in_ranks(["-c", code], count, keep_fds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, pass_fds=keep_fds)


def test_one_rank_is_the_command_itself() -> None:
    assert in_ranks(["-m", "x"], 1, (60,)) == ["-m", "x"]


def test_each_rank_knows_its_place_and_has_the_descriptors() -> None:
    read_fd, write_fd = os.pipe()
    code = (
        f"import os\nos.write({write_fd}, (os.environ['RANK'] + os.environ['WORLD_SIZE'] + ' ').encode())\n"
    )
    assert run_ranks(code, 3, (write_fd,)).returncode == 0
    os.close(write_fd)
    with os.fdopen(read_fd) as stream:
        assert sorted(stream.read().split()) == ["03", "13", "23"]


@pytest.mark.parametrize(("act", "code"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 11)", 139)])
def test_a_rank_that_fails_ends_the_others(act: str, code: int) -> None:
    text = f"import os, sys, time\nif os.environ['RANK'] == '1': {act}\ntime.sleep(600)"
    assert run_ranks(text, 2).returncode == code


@bubblewrap
def test_ranks_reach_each_other_and_nothing_else(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as outside:
        code = f"""
import os, socket, time
rank, port = os.environ["RANK"], int(os.environ["MASTER_PORT"])
def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())  # in one piece: both ranks speak
if rank == "0":
    with socket.create_server(("127.0.0.1", port)) as server:
        say("heard", server.accept()[0].recv(10).decode())
else:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).send(b"rank 1")
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    for family, address in ((socket.AF_INET, ("127.0.0.1", {outside.getsockname()[1]})),
                            (socket.AF_INET, ("1.1.1.1", 53)), (socket.AF_VSOCK, (2, 1024))):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as one:
                one.settimeout(5)
                one.connect(address)
            say("reached", address)
        except OSError as error:
            say("refused", error.errno)
"""
        plan = candidate_plan(
            ["-c", code],
            CandidateFiles((), ()),
            tier="BUBBLEWRAP",
            scratch=scratch,
            environment={},
            limits=Limits(wall_seconds=30),
            ranks=2,
        )
        ending, output, errors = run_plan(plan, tmp_path)
    assert ending.code == 0, errors
    assert sorted(output.splitlines()) == ["heard rank 1", "refused 101", "refused 111", "refused 13"]


@bubblewrap
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_experiment_on_two_devices_trains_in_two_ranks(tmp_path: Path, tiny_data: Path) -> None:
    flags = ("--sandbox", "bubblewrap", "--slots", "2", "--threads", "1", "--setup-limit-seconds", "280")
    async with trainerd(tmp_path, tiny_data, *flags) as daemon:
        source = research_file(PRESETS["tiny"])
        source = re.sub(r"^DEVICE_BATCH_SIZE = \d+", "DEVICE_BATCH_SIZE = 4", source, flags=re.MULTILINE)
        await daemon.client.start(request("pair", source, preset="tiny", device_count=2))
        last = (await watch_to_end(daemon.client, "pair"))[-1].state
        assert last.state == pb.EXPERIMENT_STATE_SUCCEEDED, last.result.failure_message
        assert last.result.tokens == PRESETS["tiny"].budget_amount


@pytest.mark.long
async def test_without_a_network_of_its_own_it_is_refused(tmp_path: Path, tiny_data: Path) -> None:
    if "LANDLOCK" not in USABLE:
        pytest.skip("the kernel has no Landlock")
    async with trainerd(tmp_path, tiny_data, "--sandbox", "landlock", "--slots", "2") as daemon:
        with pytest.raises(FailedPreconditionError) as caught:
            await daemon.client.start(request("pair", "x = 1\n", preset="tiny", device_count=2))
        assert caught.value.reason == "SANDBOX_UNAVAILABLE"
        assert "install bubblewrap" in caught.value.message
