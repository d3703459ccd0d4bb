"""The whole agent over gRPC: agentd, trainerd, entropyd and memoryd as processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from autoresearch.agent.v1 import agent_pb2 as pb

from services.agent_client import AgentClient
from services.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from services.memory_client import MemoryClient
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE
from tests.agent.daemons import Child, agentd, entropyd, memoryd, trainerd

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Stack:
    """Four daemons and a client of the agent."""

    def __init__(self, children: dict[str, Child], client: AgentClient) -> None:
        self.children = children
        self.client = client

    async def watch(self, session_id: str, after: int = 0) -> list[pb.WatchSessionResponse]:
        """Every event until the session has stopped."""
        async with asyncio.timeout(60):
            return [event async for event in self.client.watch_session(session_id, after_sequence=after)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("daemons")
    async with AsyncExitStack() as exits:
        children = {"trainer": trainerd(folder), "entropy": entropyd(folder), "memory": memoryd(folder)}
        for child in await asyncio.gather(*(child.start() for child in children.values())):
            exits.push_async_callback(child.kill)
        agent = agentd(
            folder,
            children["trainer"].grpc,
            memory=children["memory"].grpc,
            entropy=children["entropy"].grpc,
            flags=("--replicates", "3", "--trainer-patience", "20"),
        )
        exits.push_async_callback((await agent.start()).kill)
        client = AgentClient(agent.grpc)
        await exits.enter_async_context(client)
        yield Stack(children | {"agent": agent}, client)


async def test_a_session_runs_over_grpc_and_can_be_watched_again(
    stack: Stack, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(
        {"description": "better", "changes": MUCH_BETTER}, {"description": "worse", "changes": MUCH_WORSE}
    )
    request = pb.StartSessionRequest(lab=str(lab), provider="scripted", script=script)
    started = await stack.client.start_session(request)
    assert not started.resumed
    session_id = started.session.session_id
    events = await stack.watch(session_id)
    session = await stack.client.get_session(session_id)
    assert session.stop_reason == pb.STOP_REASON_PROPOSER_DONE, session.stop_detail
    assert (session.proposal_count, session.kept_count) == (2, 1)
    assert session.entropy_source == "os"
    assert session.noise_sigma > 0
    stored = [event for event in events if event.sequence]
    again = await stack.watch(session_id, after=stored[2].sequence)
    assert [event.sequence for event in again] == [event.sequence for event in stored[3:]]
    assert stored[-1].session.state == pb.SESSION_STATE_STOPPED
    assert any(event.WhichOneof("event") == "progress" for event in events)
    page = await stack.client.list_proposals(session_id, page_size=2)
    rest = await stack.client.list_proposals(session_id, page_token=page.next_page_token)
    verdicts = [item.verdict for item in [*page.proposals, *rest.proposals]]
    assert verdicts == [pb.VERDICT_BASELINE, pb.VERDICT_KEEP, pb.VERDICT_DISCARD]
    assert all(run.seed for item in page.proposals for run in item.runs)
    async with MemoryClient(stack.children["memory"].grpc) as memory:
        found = await memory.recall("better", limit=5)
        assert any("Verdict keep" in item.memory.text for item in found)


async def test_a_stop_is_quick_and_the_next_start_goes_on(
    stack: Stack, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 500}} for n in range(6)))
    request = pb.StartSessionRequest(lab=str(lab), provider="scripted", script=script, max_experiments=4)
    session_id = (await stack.client.start_session(request)).session.session_id
    while (await stack.client.get_session(session_id)).proposal_count < 2:
        await asyncio.sleep(0.05)
    stopped = await asyncio.wait_for(stack.client.stop_session(session_id), 5)
    assert stopped.stop_reason == pb.STOP_REASON_REQUESTED
    again = await stack.client.start_session(request)
    assert again.resumed
    await stack.watch(session_id, after=again.session.last_sequence)
    session = await stack.client.get_session(session_id)
    assert session.stop_reason == pb.STOP_REASON_EXPERIMENT_LIMIT
    proposals = (await stack.client.list_proposals(session_id)).proposals
    assert [item.number for item in proposals] == [0, 1, 2, 3, 4]
    assert all(item.state == pb.PROPOSAL_STATE_RECORDED for item in proposals)


async def test_wrong_requests_are_refused_by_name(stack: Stack, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    wrong = {
        "LAB_NOT_OURS": pb.StartSessionRequest(lab=str(other), provider="search"),
        "INVALID_TAG": pb.StartSessionRequest(lab=str(tmp_path / "lab"), tag="a/b"),
        "UNKNOWN_PROVIDER": pb.StartSessionRequest(lab=str(tmp_path / "lab"), provider="oracle"),
        "NO_KEY": pb.StartSessionRequest(lab=str(tmp_path / "lab"), provider="anthropic"),
        "INVALID_ARGUMENT": pb.StartSessionRequest(lab="relative"),
    }
    for reason, request in wrong.items():
        with pytest.raises((FailedPreconditionError, InvalidArgumentError)) as caught:
            await stack.client.start_session(request)
        assert caught.value.reason == reason
    assert sorted(path.name for path in other.iterdir()) == ["thesis.tex"]
    no_script = pb.StartSessionRequest(lab=str(tmp_path / "lab"), provider="scripted", script="/no/script")
    with pytest.raises(InvalidArgumentError, match="script: cannot read /no/script: No such file"):
        await stack.client.start_session(no_script)
    with pytest.raises(NotFoundError) as missing:
        await stack.client.get_session("nobody")
    assert missing.value.reason == "SESSION_NOT_FOUND"


async def test_manual_mode_works_by_the_same_tools_under_the_same_judge(stack: Stack, lab: Path) -> None:
    request = pb.StartSessionRequest(lab=str(lab), manual=True)
    session_id = (await stack.client.start_session(request)).session.session_id

    async def call(name: str, **arguments: object) -> tuple[dict[str, object], bool]:
        response = await stack.client.call_tool(session_id, name, json.dumps(arguments))
        assert len(response.result_json.encode()) <= 4096
        return json.loads(response.result_json), response.failed

    config, _ = await call("get_config")
    assert config["code_changed_in_draft"] is False
    _, refused = await call("keep")
    assert refused, "nothing was run, so nothing can be kept"
    await call("set_hyperparams", changes=MUCH_WORSE)
    outcome, _ = await call("run_experiment", description="slower")
    assert outcome["verdict"] == "DISCARD"
    answer, refused = await call("keep")
    assert refused
    assert "DISCARD" in str(answer["message"])
    await call("discard", note="as the judge says")
    await call("set_hyperparams", changes=MUCH_BETTER)
    outcome, _ = await call("run_experiment", description="better", wait_seconds=0)
    assert outcome["status"] == "running"
    outcome, _ = await call("run_experiment", description="better")
    assert outcome["verdict"] == "KEEP"
    answer, refused = await call("run_experiment", description="another")
    assert refused, "the kept one must be decided first"
    kept, _ = await call("keep")
    assert kept["kept"] is True
    _, refused = await call("run_experiment", description="nothing changed")
    assert refused
    history, _ = await call("get_history")
    rows = history["experiments"]["data"]  # type: ignore[index]
    assert [row["verdict"] for row in rows] == ["keep", "discard", "baseline"]
    loop = pb.StartSessionRequest(lab=str(lab), provider="search", max_experiments=3)
    assert (await stack.client.start_session(loop)).session.state != pb.SESSION_STATE_MANUAL
    with pytest.raises(FailedPreconditionError) as held:
        await stack.client.call_tool(session_id, "set_hyperparams", '{"changes": {"DEPTH": 3}}')
    assert held.value.reason == "SESSION_RUNNING"
    await stack.watch(session_id)
    assert (await stack.client.get_session(session_id)).proposal_count == 3
    assert (await stack.client.start_session(request)).session.state == pb.SESSION_STATE_MANUAL
    assert len({tool.name for tool in await stack.client.list_tools()}) == 10
    with pytest.raises(NotFoundError):
        await stack.client.call_tool(session_id, "shell", "{}")
    with pytest.raises(InvalidArgumentError) as caught:
        await stack.client.call_tool(session_id, "read_code", '{"first_line": "x"}')
    assert caught.value.reason == "INVALID_ARGUMENTS"


async def test_sigterm_ends_agentd_within_five_seconds_with_a_session_running(
    stack: Stack, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 500}} for n in range(50)))
    request = pb.StartSessionRequest(lab=str(lab), provider="scripted", script=script)
    session_id = (await stack.client.start_session(request)).session.session_id
    watching = asyncio.create_task(stack.watch(session_id))
    await asyncio.sleep(0.5)
    assert await asyncio.wait_for(stack.children["agent"].stop(), 5) == 0
    last = (await watching)[-1].session
    assert (last.state, last.stop_detail) == (pb.SESSION_STATE_STOPPED, "agentd ended")
    assert '"error"' not in stack.children["agent"].log.read_text()
