"""`autoresearch run` over scripted daemons: `python -m … LAB [daemon flags]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli.console import print_note
from agent.cli.follow import follow_session
from agent.cli.lab_daemons import open_lab
from agent.cli.same_command import NO_FLAGS
from agent.launch.plan import MODULES, LaunchOptions

if __name__ == "__main__":
    lab = Path(sys.argv[1])
    options = LaunchOptions(
        lab,
        lab.parent / "data",
        modules=dict.fromkeys(MODULES, "tests.agent.cli.scripted_agentd"),
        agent_flags=tuple(sys.argv[2:]),
    )
    request = pb.StartSessionRequest(lab=str(lab), tag="lab")
    sys.exit(
        asyncio.run(
            follow_session(lambda: open_lab(options, note=print_note), request, NO_FLAGS, as_json=False)
        )
    )
