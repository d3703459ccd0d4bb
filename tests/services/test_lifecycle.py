"""A daemon process announces itself, ends on a signal, and follows its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

CHILD = """
import asyncio
from services.lifecycle import announce, wait_for_end
async def main():
    announce("probed", {"grpc": "127.0.0.1:1"})
    print(await wait_for_end(with_parent=True, poll_seconds=0.05), flush=True)
asyncio.run(main())
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), end="", flush=True)
import time; time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_by_name(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = json.loads(child.stdout.readline())
        assert (line["service"], line["pid"], line["grpc"]) == ("probed", child.pid, "127.0.0.1:1")
        time.sleep(0.2)  # the handler is set right after the announcement
        child.send_signal(number)
        assert child.stdout.read().strip() == number.name
        assert child.wait(5) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="orphans are re-parented on POSIX only")
def test_it_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = json.loads(parent.stdout.readline())["pid"]
        time.sleep(0.2)
        parent.kill()
        for _ in range(100):
            if not is_running(pid):
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the child outlived its parent by five seconds")


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
