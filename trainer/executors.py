"""Opens the executor that a setting names."""

from __future__ import annotations

from trainer.executor import Executor
from trainer.settings import TrainerSettings


async def open_executor(settings: TrainerSettings) -> Executor:
    """Imports and builds only what is asked for."""
    match settings.executor:
        case "scripted":
            from trainer.scripted_executor import ScriptedExecutor

            return ScriptedExecutor(settings.scripted_seconds, settings.slots)
        case "local":
            from trainer.local_executor import LocalExecutor

            return await LocalExecutor.open(settings, settings.state / "compile-cache")
