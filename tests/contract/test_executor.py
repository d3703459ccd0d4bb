"""Every executor against the whole specification."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.contract.executor_spec import ExecutorSpec, Subject
from tests.trainer.data.small_corpus import prepare_tiny_preset
from trainer.executor import Executor
from trainer.experiment import Budget
from trainer.local_executor import LocalExecutor
from trainer.presets import PRESETS
from trainer.sandbox.tiers import choose_tier
from trainer.scripted_executor import ScriptedExecutor
from trainer.settings import TrainerSettings
from trainer.templates import research_file

_SCRIPTED: type[Executor] = ScriptedExecutor
_LOCAL: type[Executor] = LocalExecutor
ENDLESS = "import time\nprint('here', flush=True)\nwhile True:\n    time.sleep(1)\n"


def living_below(folder: Path) -> int:
    """Processes whose command line names a folder."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return sum(str(folder) in line for line in lines)


class TestScripted(ExecutorSpec):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        executor = ScriptedExecutor(seconds=0.6)
        return Subject(
            executor, tmp_path, "cpu", "DEPTH = 4\n", "DEPTH = 4\n", Budget("tokens", 2048), lambda: 0
        )


@pytest.mark.long
@pytest.mark.timeout(600)
class TestLocal(ExecutorSpec):
    @pytest.fixture(scope="class")
    def data(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return prepare_tiny_preset(tmp_path_factory.mktemp("data"))

    @pytest.fixture(params=["landlock", "none"])
    async def subject(self, request: pytest.FixtureRequest, tmp_path: Path, data: Path) -> Subject:
        if request.param not in [tier.value.lower() for tier in choose_tier("auto").usable]:
            pytest.skip(f"the tier {request.param} does not work on this machine")
        settings = TrainerSettings(data=data, sandbox=request.param, threads=1)
        preset = PRESETS["tiny"]
        return Subject(
            await LocalExecutor.open(settings),
            tmp_path,
            "tiny",
            research_file(preset),
            ENDLESS,
            Budget(preset.budget_kind, preset.budget_amount),
            lambda: living_below(tmp_path),
        )
