"""The `local` executor: candidates as sandboxed processes on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from services.errors import FailedPreconditionError, NotFoundError
from trainer.datasets import find_data
from trainer.devices import bytecode_warning, host_memory_bytes, probe_devices, torch_version
from trainer.executor import Capabilities, DeviceInfo, Job, RunEvent, SampleRequest
from trainer.experiment import ExperimentRequest, Origin, Tier
from trainer.presets import PRESETS
from trainer.runs.device_memory_cap import open_device_memory
from trainer.runs.folder import RunFolder
from trainer.runs.local_run import LocalRun, RunSettings
from trainer.runs.recorded import RecordedProcess
from trainer.sandbox.candidate_plan import refuse_shown
from trainer.sandbox.container import remove_containers_below
from trainer.sandbox.launch import has_supervisor
from trainer.sandbox.plan import parse_plan
from trainer.sandbox.tiers import choose_tier
from trainer.settings import TrainerSettings

SAMPLES_AT_ONCE = 2  # each loads torch and a model, beside the experiments; others wait


class LocalExecutor:
    """Runs on the CPU slots or the GPUs that the daemon leases."""

    name = "local"
    needs_data = True

    def __init__(
        self, settings: TrainerSettings, capabilities: Capabilities, compile_cache: Path | None = None
    ) -> None:
        self._settings = settings
        self._capabilities = capabilities
        self._data = settings.data.resolve()
        self._released = False
        self._sampling = asyncio.Semaphore(SAMPLES_AT_ONCE)
        cores = _core_count()
        self._run_settings = RunSettings(
            tier=capabilities.tier,
            threads=settings.threads or max(1, cores // max(1, len(capabilities.devices))),
            memory_bytes=int(settings.memory_limit_gib * 2**30) or host_memory_bytes() * 3 // 4,
            scratch_bytes=int(settings.scratch_limit_gib * 2**30),
            processes=settings.process_limit,
            output_bytes=int(settings.output_limit_mib * 2**20),
            setup_seconds=settings.setup_limit_seconds,
            evaluation_seconds=settings.evaluation_limit_seconds,
            container=(settings.container_image, settings.container_engine),
            orphan_seconds=settings.orphan_seconds,
            compile_cache=str(compile_cache.resolve()) if compile_cache is not None else "",
            device_memory_bytes=int(settings.device_memory_limit_gib * 2**30),
        )

    @classmethod
    async def open(cls, settings: TrainerSettings, compile_cache: Path | None = None) -> LocalExecutor:
        """Probes devices and sandbox; without a compile_cache each run compiles anew.

        Raises ConfigurationError when the tier asked for does not work, or would show data and state."""
        devices, warnings = await probe_devices(settings.slots)
        if without_bytecode := bytecode_warning():
            warnings = (*warnings, without_bytecode)
        if settings.device_memory_limit_gib and open_device_memory() is None:
            warnings = (
                *warnings,
                "--device-memory-limit-gib: there is no NVML here to ask, so it is not held",
            )
        container = (settings.container_image, settings.container_engine)
        choice = await asyncio.to_thread(choose_tier, settings.sandbox, container)
        if choice.tier is not Tier.NONE:
            refuse_shown("--data", settings.data)
            refuse_shown("--state", settings.state)
        capabilities = Capabilities(
            devices, choice.usable, choice.tier, torch_version(), (*warnings, *choice.warnings)
        )
        return cls(settings, capabilities, compile_cache)

    async def capabilities(self) -> Capabilities:
        return self._capabilities

    async def check(self, request: ExperimentRequest) -> str:
        self._check_devices(request)
        tier = self._capabilities.tier
        if tier is Tier.NONE and request.origin is Origin.MODEL and not self._settings.unsafe:
            raise FailedPreconditionError(
                "no sandbox tier works here, and code that a model wrote does not run without one; install "
                "bubblewrap, or start trainerd with --unsafe",
                reason="SANDBOX_UNAVAILABLE",
            )
        if not self._capabilities.torch_version:
            raise FailedPreconditionError(
                "torch is not installed; install the extra `torch` or `lab`", reason="DOES_NOT_FIT"
            )
        return find_data(self._data, request.data_hash, PRESETS[request.preset]).manifest.data_hash

    async def run(self, job: Job) -> AsyncIterator[RunEvent]:
        dataset = find_data(self._data, job.request.data_hash, PRESETS[job.request.preset])
        # Closed here: a generator within another would otherwise end some time after its owner has left.
        run = LocalRun(job, dataset, self._run_settings, lambda: self._released)
        async with aclosing(run.events()) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def sample(self, job: Job, request: SampleRequest) -> str:
        from trainer.sampling import sample_from

        checkpoint = job.folder / "checkpoint"
        if not (checkpoint / "model.safetensors").is_file():
            raise NotFoundError(
                f"experiment {job.request.experiment_id} kept no checkpoint", reason="ARTIFACT_NOT_FOUND"
            )
        dataset = find_data(self._data, job.request.data_hash, PRESETS[job.request.preset])
        async with self._sampling:
            return await sample_from(job, dataset, self._run_settings, request)

    async def recover(self, folder: Path, *, adopt: bool) -> bool:
        """A run can be adopted when its supervisor has left a record of this boot, made in the tier that is
        in force now."""
        files = RunFolder(folder)
        process = RecordedProcess.find(files.record)
        if adopt and process is not None and _tier_of(files.plan) == self._capabilities.tier.value:
            return True
        if process is not None:
            await process.stop()
        if self._capabilities.tier is Tier.CONTAINER:
            engine = self._run_settings.container[1]
            await asyncio.to_thread(remove_containers_below, str(folder), engine)
        await asyncio.to_thread(files.tidy, keep_checkpoint=False)
        return False

    async def release(self) -> bool:
        self._released = self._run_settings.orphan_seconds > 0 and has_supervisor()
        return self._released

    def _check_devices(self, request: ExperimentRequest) -> None:
        devices = self._capabilities.devices
        classes = {device.device_class for device in devices}
        if request.device_class and request.device_class not in classes:
            raise FailedPreconditionError(
                f"device_class {request.device_class!r} is not here; this trainer has {', '.join(classes)}",
                reason="DEVICE_CLASS_MISMATCH",
            )
        of_class = [device.device_class for device in devices]
        most = (
            of_class.count(request.device_class)
            if request.device_class
            else max(map(of_class.count, of_class))
        )
        if request.device_count > most:
            raise FailedPreconditionError(
                f"device_count {request.device_count} is more than this trainer has of one class: {most}",
                reason="DOES_NOT_FIT",
            )
        if request.device_count > 1 and self._capabilities.tier is Tier.LANDLOCK:
            raise FailedPreconditionError(
                "an experiment on several devices needs a network of its own, which the tier landlock cannot "
                "give; install bubblewrap, or ask for device_count 1",
                reason="SANDBOX_UNAVAILABLE",
            )
        _refuse_misfit(request, devices[0])


def _refuse_misfit(request: ExperimentRequest, device: DeviceInfo) -> None:
    wanted = PRESETS[request.preset].device_class
    if wanted == "cuda" and device.kind == "cpu":
        raise FailedPreconditionError(
            f"preset {request.preset} needs a GPU, this trainer has none; use preset cpu",
            reason="DOES_NOT_FIT",
        )


def _tier_of(plan: Path) -> str:
    """The tier in which a run was started; empty when that cannot be told."""
    try:
        return parse_plan(plan.read_text(encoding="utf-8")).tier
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _core_count() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
