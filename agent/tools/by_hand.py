"""CallTool: one tool of a session, called by a person or a coding agent."""

from __future__ import annotations

import json
import shlex

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.ledger.records import SessionState
from agent.session.limits import LimitReached
from agent.session.session import Session
from agent.tools.answer import ToolAnswer, failure
from agent.tools.manual_bench import ManualBench
from agent.tools.toolbox import TOOLS, call_tool, find_tool, parse_arguments, read_arguments
from services.errors import FailedPreconditionError


async def call_by_hand(session: Session, name: str, arguments_json: str) -> ToolAnswer:
    """Raises NotFoundError (TOOL_NOT_FOUND), InvalidArgumentError (INVALID_ARGUMENTS),
    FailedPreconditionError (SESSION_RUNNING, NO_SESSION_OPEN). Tools that only look work at any time."""
    tool = find_tool(name)
    arguments = read_arguments(tool, parse_arguments(arguments_json))
    if tool.changes:
        _refuse_loop(session)
    try:
        return await call_tool(ManualBench(session), tool, arguments)
    except LimitReached as reached:
        return failure(reached.reason.name, reached.detail)


def tool_messages() -> list[pb.Tool]:
    """The tools as ListTools answers them."""
    return [
        pb.Tool(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=json.dumps(tool.schema, ensure_ascii=False),
        )
        for tool in TOOLS.values()
    ]


def _refuse_loop(session: Session) -> None:
    if session.record.state is SessionState.STOPPED:
        raise FailedPreconditionError(
            "the session is stopped: start it with manual=true (`autoresearch run --manual "
            f"{shlex.join(['--lab', str(session.lab), '--tag', session.record.tag])}`)",
            reason="NO_SESSION_OPEN",
        )
    if session.running and not session.by_hand:
        raise FailedPreconditionError(
            "the loop holds this session: stop it first, then work by hand", reason="SESSION_RUNNING"
        )
