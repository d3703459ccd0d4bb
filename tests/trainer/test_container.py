"""The container tier with a real engine (DOCKER_HOST, or the client's default)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from services.errors import ConfigurationError
from tests.contract.executor_spec import Subject, end_of, make_job, run_job
from tests.trainer.test_sandbox import run_plan
from trainer.executor import Job
from trainer.experiment import Budget, ExperimentRequest, Failure, Tier
from trainer.local_executor import LocalExecutor
from trainer.presets import PRESETS
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan
from trainer.sandbox.container import LABEL, engine_command
from trainer.sandbox.plan import Limits
from trainer.settings import TrainerSettings
from trainer.templates import research_file

ENGINE = os.environ.get("DOCKER_HOST", "")
pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
async def subject(tmp_path: Path, tiny_data: Path) -> Subject:
    settings = TrainerSettings(
        data=tiny_data,
        sandbox="container",
        threads=1,
        container_engine=ENGINE,
        memory_limit_gib=0.7,
        setup_limit_seconds=400,
    )
    try:
        executor = await LocalExecutor.open(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    preset = PRESETS["tiny"]
    source = research_file(preset)
    budget = Budget(preset.budget_kind, preset.budget_amount)
    return Subject(executor, tmp_path, "tiny", source, "", budget, lambda: len(containers(tmp_path)))


def containers(folder: Path) -> list[str]:
    """Names of the containers that belong to runs below a folder."""
    command = [*engine_command(ENGINE), "ps", "-a", "--format", '{{.Label "' + LABEL + '"}}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [line for line in done.stdout.split() if line.startswith(str(folder))]


async def test_a_run_is_trained_and_scored_in_a_container(subject: Subject) -> None:
    result = end_of(await run_job(subject, make_job(subject, subject.good_source, "good")))
    assert result.failure is None, result.failure_message
    assert (await subject.executor.capabilities()).tier is Tier.CONTAINER
    assert result.validation_hidden
    assert subject.living() == 0


async def test_nothing_outside_can_be_reached(subject: Subject, tiny_data: Path, tmp_path: Path) -> None:
    manifest = json.loads(next(tiny_data.glob("*/manifest.json")).read_text())
    validation = next(tiny_data.glob("*/validation/rows.bin"))
    (tmp_path / "outside").write_text("untouched")
    source = f"""
import os, socket
reached = []
for name, act in {{
    "validation": lambda: open({str(validation)!r}, "rb"),
    "origin": lambda: open({manifest["origin_files"][0]!r}),
    "network": lambda: socket.create_connection(("192.0.2.1", 80), timeout=2),
    "outside": lambda: open({str(tmp_path / "outside")!r}, "a"),
    "source": lambda: open(__file__, "a"),
    "root": lambda: open("/etc/evil", "w"),
}}.items():
    try:
        act()
        reached.append(name)
    except OSError:
        continue
# Below /tmp the container has a memory of its own; the test looks at the real file.
reached = [name for name in reached if name != "outside"]
raise RuntimeError(f"reached {{reached}}") if reached else PermissionError("nothing was reached")
"""
    result = end_of(await run_job(subject, make_job(subject, source, "escape")))
    assert result.failure is Failure.SANDBOX_VIOLATION, result.failure_message
    assert (tmp_path / "outside").read_text() == "untouched"


@pytest.mark.parametrize("count", [3, 3_000])
async def test_hidden_files_stay_hidden_however_many(subject: Subject, tmp_path: Path, count: int) -> None:
    assert (await subject.executor.capabilities()).tier is Tier.CONTAINER
    shown, scratch = tmp_path / "shown", tmp_path / "run" / "scratch"
    for folder in (shown, scratch):
        folder.mkdir(parents=True)
    (shown / "open.txt").write_text("open")
    hidden = [shown / f"{number}.txt" for number in range(count)]
    for path in hidden:
        path.write_text("secret")
    code = (
        f"print(open('{shown}/open.txt').read())\n"
        f"try: print(open('{hidden[-1]}').read())\n"
        "except PermissionError: print('refused')\n"
    )
    files = CandidateFiles((shown,), (), tuple(map(str, hidden)))
    image = TrainerSettings(data=tmp_path).container_image
    plan = candidate_plan(
        ["-c", code], files, tier="CONTAINER", scratch=scratch, environment={},
        limits=Limits(wall_seconds=100), container=(image, ENGINE),
    )  # fmt: skip
    _, output, errors = run_plan(plan, tmp_path)
    assert output.split() == ["open", "refused"], errors


async def test_memory_is_capped(subject: Subject) -> None:
    source = "x = []\nwhile True:\n    x.append(b'1' * (16 << 20))\n"
    result = end_of(await run_job(subject, make_job(subject, source, "hog")))
    assert result.failure is Failure.OUT_OF_HOST_MEMORY, result.failure_message


async def test_cancelling_removes_the_container(subject: Subject) -> None:
    job = make_job(subject, "import time\nprint('here', flush=True)\ntime.sleep(600)\n", "endless")
    data_hash = await subject.executor.check(job.request)
    request = ExperimentRequest(**{**vars(job.request), "data_hash": data_hash})
    devices = (await subject.executor.capabilities()).devices[:1]
    events = subject.executor.run(Job(request, job.source, job.folder, devices))
    async for _ in events:
        if subject.living():
            break
        await asyncio.sleep(0)
    await events.aclose()  # type: ignore[attr-defined]
    assert subject.living() == 0
