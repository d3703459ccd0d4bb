"""A candidate of several processes: one for each device, on the loopback of a network of their own."""

from __future__ import annotations

from collections.abc import Sequence

# Runs inside the sandbox, where only the harness can be imported. What torchrun would do, but it passes on no
# descriptor, and its agent wants a store of its own. The first rank that fails ends the others.
_PROGRAM = """
import os, socket, subprocess, sys, time
count, descriptors = int(sys.argv[1]), [int(one) for one in sys.argv[2].split(",") if one]
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
ranks = []
for rank in range(count):
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo",
             "NCCL_SOCKET_IFNAME": "lo"}
    environment = {**os.environ, **{name: str(value) for name, value in place.items()}}
    ranks.append(subprocess.Popen([sys.executable, "-P", "-B", *sys.argv[3:]], env=environment,
                                  pass_fds=descriptors))
while True:
    codes = [rank.poll() for rank in ranks]
    failed = [code for code in codes if code]
    if failed or None not in codes:
        break
    time.sleep(0.05)
for rank in ranks:
    if rank.poll() is None:
        rank.kill()
        rank.wait()
sys.exit((failed[0] if failed[0] > 0 else 128 - failed[0]) if failed else 0)
"""


def in_ranks(command: Sequence[str], count: int, keep_fds: Sequence[int]) -> list[str]:
    """The arguments of an interpreter that runs another one's arguments in `count` ranks; one needs none."""
    if count == 1:
        return list(command)
    return ["-c", _PROGRAM, str(count), ",".join(map(str, keep_fds)), *command]
