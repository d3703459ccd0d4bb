"""Unix sockets of the host are out of a candidate's reach where a filter alone keeps them so."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.trainer.test_sandbox import USABLE, run_plan, simple_plan


@pytest.mark.skipif("LANDLOCK" not in USABLE, reason="the tier LANDLOCK does not work on this machine")
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
