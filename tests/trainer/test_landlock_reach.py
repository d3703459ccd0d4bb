"""What namespaces keep from a candidate elsewhere, the filter alone keeps from it in the tier Landlock."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.trainer.test_sandbox import USABLE, run_plan, simple_plan

pytestmark = pytest.mark.skipif(
    "LANDLOCK" not in USABLE, reason="the tier LANDLOCK does not work on this machine"
)


def test_nothing_can_be_left_in_memory_for_the_next_run(tmp_path: Path) -> None:
    code = (
        "import ctypes, errno, os\n"
        "library = ctypes.CDLL(None, use_errno=True)\n"
        "def name(code): return errno.errorcode.get(ctypes.get_errno()) if code == -1 else 'made'\n"
        "print(name(library.shmget(4242, 4096, 0o1666)), name(library.semget(4242, 1, 0o1666)))\n"
        "queue = library.mq_open(b'/left', os.O_CREAT | os.O_RDWR, 0o666, None)\n"
        "print(name(queue), name(library.msgget(4242, 0o1666)))\n"
    )
    ending, output, errors = run_plan(simple_plan(tmp_path, code, "LANDLOCK"), tmp_path)
    assert ending.code == 0, errors
    assert output.split() == ["EPERM"] * 4


def test_no_datagram_leaves_landlock(tmp_path: Path) -> None:
    """They need no connect(): a path of the host in sendto() is enough."""
    place = str(tmp_path / "host")
    code = (
        "import socket\n"
        "for make, kind in ((socket.socket, socket.SOCK_DGRAM), (socket.socket, socket.SOCK_RAW),\n"
        "                   (socket.socketpair, socket.SOCK_DGRAM)):\n"
        "    try:\n"
        "        made = make(socket.AF_UNIX, kind)\n"
        "        made = made[0] if isinstance(made, tuple) else made\n"
        f"        made.sendto(b'out', {place!r})\n"
        "        print('sent')\n"
        "    except OSError as error: print(type(error).__name__)\n"
        "for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):\n"
        "    one, other = socket.socketpair(socket.AF_UNIX, kind)\n"
        "    one.send(b'in'); print(other.recv(2).decode())\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(place)
        os.chmod(place, 0o777)
        ending, output, errors = run_plan(simple_plan(tmp_path, code, "LANDLOCK"), tmp_path)
        host.setblocking(False)
        with pytest.raises(BlockingIOError):
            host.recv(10)
    assert ending.code == 0, errors
    assert output.split() == ["PermissionError"] * 3 + ["in", "in"]
