"""The example that shows a stranger how to call the trainer runs as it stands."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.trainer.serving import serving
from trainer.scripted_executor import ScriptedExecutor

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "train_over_grpc.py"


async def test_the_grpc_example_trains_and_prints_the_score(tmp_path: Path) -> None:
    source = tmp_path / "train.py"
    source.write_text("DEPTH = 4\n")
    async with serving(ScriptedExecutor(seconds=0.1), tmp_path / "state") as lab:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLE), lab.target, str(source), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        score = lab.experiments.page(0, 1, {})[0][0].result
    lines = output.decode().splitlines()
    assert process.returncode == 0
    assert lines[0] == "data: ready"
    assert lines[1].startswith("step 0 loss ")
    assert score is not None
    assert lines[-1] == f"val_bpb {score.val_bpb:.6f}"
