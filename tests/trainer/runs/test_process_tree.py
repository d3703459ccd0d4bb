"""Ending a tree of processes that no supervisor holds together."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from trainer.runs.process_tree import descendants, is_alive, kill_tree

# Each level leaves its parent's session, ignores a polite end and goes on to make children.
GROWING = """
import os, signal, sys, time
for level in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b".")
for child in range(50):
    if os.fork() == 0:
        break
    time.sleep(0.01)
time.sleep(60)
"""


def start_growing() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", GROWING], stdout=subprocess.PIPE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
async def test_nothing_is_left_of_a_tree_that_grows() -> None:
    with start_growing() as root:
        assert root.stdout is not None
        assert len(await asyncio.to_thread(root.stdout.read, 8)) == 8
        before = descendants(root.pid)
        assert len(before) >= 7
        await kill_tree(root.pid)
        # All of them had this pipe: it ends with the last one, also with one that was made meanwhile.
        assert (await asyncio.wait_for(asyncio.to_thread(root.stdout.read), 20)) == b""
        assert not any(map(is_alive, before))
        assert root.wait(5) < 0
    assert os.getpid() not in before
