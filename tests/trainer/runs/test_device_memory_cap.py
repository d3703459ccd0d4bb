"""The cap on a device's memory, with a library and a process that stand in for a driver and a GPU."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.data.dataset import open_dataset
from trainer.executor import DeviceInfo, Job
from trainer.experiment import Budget, ExperimentRequest, Failure, SeedGrant, Tier
from trainer.runs.device_memory_cap import DeviceMemory, exceed, open_device_memory, visible_names
from trainer.runs.folder import RunFolder
from trainer.runs.local_run import RunSettings
from trainer.runs.training_run import TrainingRun

# What NVML has, as far as it is called: two devices, of which 3 and 5 bytes are used.
DRIVER = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  if (index > 1) return 2;
  *device = (void *)(unsigned long)(index + 1); return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  if (strcmp(uuid, "GPU-second")) return 2;
  *device = (void *)2ul; return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
  memory[0] = 100; memory[2] = device == (void *)1 ? 3 : 5; memory[1] = 100 - memory[2]; return 0;
}
"""


class FileMemory:
    """A device whose memory in use is the size of a file, which a candidate lets grow."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def used_bytes(self, device: str) -> int:
        return self._path.stat().st_size if device == "0" and self._path.exists() else 0


_SEAM: type[DeviceMemory] = FileMemory


def test_the_drivers_library_is_asked(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "driver.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "driver.c")]
    subprocess.run(command, check=True)
    memory = open_device_memory(str(library))
    assert memory is not None
    assert [memory.used_bytes(name) for name in ("0", "1", "GPU-second")] == [3, 5, 5]
    for name in ("2", "GPU-third"):
        with pytest.raises(OSError, match="answered 2"):
            memory.used_bytes(name)


def test_without_a_driver_there_is_nobody_to_ask() -> None:
    assert open_device_memory("libno-such-driver.so.1") is None


def test_devices_have_the_names_that_this_daemon_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_names((0, 3)) == ["0", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-second")
    assert visible_names((0, 1)) == ["2", "GPU-second"]


async def test_the_watch_returns_the_device_above_the_limit() -> None:
    readings = {"0": [5, 9, 10, 10, 10], "1": [1, 2, 3, 11]}

    class Falling:
        def used_bytes(self, device: str) -> int:
            value = readings[device].pop(0)
            if value == 9:
                raise OSError(999, "the driver is busy")
            return value

    async def no_sleep(seconds: float) -> None:
        pass

    assert await exceed(Falling(), ["0", "1"], 10, no_sleep) == "1"


GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
ALLOCATE = """
import time, torch
torch.cuda.init()
held = torch.ones(1 << 30, device="cuda")
time.sleep(600)
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_driver_sees_what_torch_takes() -> None:
    memory = open_device_memory()
    assert memory is not None
    torch.zeros(1, device="cuda")
    before = memory.used_bytes(visible_names((0,))[0])
    held = torch.ones(1 << 29, device="cuda")
    assert memory.used_bytes(visible_names((0,))[0]) - before >= held.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="needs the supervisor")
@pytest.mark.parametrize("driver", ["a file", pytest.param("NVML", marks=GPU)])
async def test_a_run_above_the_cap_is_ended_with_its_reason(
    tmp_path: Path, tiny_data: Path, driver: str
) -> None:
    dataset = open_dataset(next(path for path in tiny_data.iterdir() if (path / "manifest.json").is_file()))
    real = open_device_memory() if driver == "NVML" else None
    source = ALLOCATE if real else "import time\nopen('grown', 'wb').write(b'x' * 1000)\ntime.sleep(600)\n"
    request = ExperimentRequest("greedy", "", SeedGrant(1), Budget("tokens", 8192.0), "", "tiny")
    device = DeviceInfo("a GPU", "cuda", 0, "a-gpu", index=0)
    folder = RunFolder(tmp_path / "run")
    folder.create(source)
    settings = RunSettings(Tier.NONE, 1, 1 << 35, 1 << 30, 500, 1 << 20, 60.0, 60.0)
    memory: DeviceMemory = real or FileMemory(folder.scratch / "grown")
    limit = real.used_bytes(visible_names((0,))[0]) + (3 << 30) if real else 999
    settings = replace(settings, device_memory_bytes=limit)
    job = Job(request, source, folder.root, (device,))
    run = TrainingRun(job, dataset, settings, folder, asyncio.get_running_loop().time, lambda: False, memory)
    trained = await run.run()
    assert trained.failure is not None
    assert trained.failure[0] is Failure.OUT_OF_DEVICE_MEMORY
    assert trained.ending.signal == 9
