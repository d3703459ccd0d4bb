"""The device of a run: which one, how large, how fast, seeded."""

import importlib.util
import random
import sys
from dataclasses import dataclass

import torch

from trainer.harness.failures import ContractError
from trainer.harness.pages import keep_large_blocks

# Dense bf16 peak in FLOP/s by a part of torch's device name; vendors' data sheets.
PEAK_FLOPS = {
    "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "H800": 989e12,
    "A100": 312e12, "A800": 312e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12, "A10G": 70e12,
    "RTX 5090": 209.5e12, "RTX 4090": 165.2e12, "RTX 4080": 97.5e12, "RTX 3090": 71e12, "RTX 3060": 25.6e12,
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """kind is cpu, cuda or mps; peak_flops is 0 when unknown."""

    kind: str
    name: str
    memory_bytes: int
    peak_flops: float
    torch_device: torch.device

    @property
    def compiles(self) -> bool:
        """Whether torch.compile is worth it here: CUDA with Triton; elsewhere the start costs more."""
        return self.kind == "cuda" and triton_is_importable()


def open_device(name: str = "auto", threads: int = 0, index: int = 0) -> Device:
    """Probes a device by name; index is the CUDA device where the name has none.

    Raises ContractError when it is asked for by name and absent.
    """
    if threads > 0:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    kind = name.split(":", 1)[0]
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise ContractError("device cuda was asked for, torch sees none; use --device cpu")
        device = torch.device(name if ":" in name else f"cuda:{index}")
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
        properties = torch.cuda.get_device_properties(device)
        peak = next((flops for part, flops in PEAK_FLOPS.items() if part in properties.name), 0.0)
        return Device("cuda", properties.name, properties.total_memory, peak, device)
    if kind == "mps":
        if not _has_mps():
            raise ContractError("device mps was asked for, torch sees none; use --device cpu")
        return Device("mps", "mps", 0, 0.0, torch.device("mps"))
    if kind != "cpu":
        raise ContractError(f"device must be auto, cpu, cuda, cuda:N or mps, not {name!r}")
    keep_large_blocks()
    return Device("cpu", "cpu", 0, 0.0, torch.device("cpu"))


def seed_everything(seed: int) -> None:
    """Seeds Python's, torch's and the devices' generators; seed may have 64 bits."""
    random.seed(seed)
    torch.manual_seed(seed % 2**63)


def peak_memory_bytes(device: Device) -> int:
    """Largest memory use so far: of the device, or of this process on a CPU; 0 when unknown."""
    if device.kind == "cuda":
        return int(torch.cuda.max_memory_allocated(device.torch_device))
    if device.kind == "mps":
        return int(torch.mps.driver_allocated_memory())
    if importlib.util.find_spec("resource") is None:
        return 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def synchronize(device: Device) -> None:
    """Waits until the device has done all queued work."""
    if device.kind == "cuda":
        torch.cuda.synchronize(device.torch_device)
    elif device.kind == "mps":
        torch.mps.synchronize()


def triton_is_importable() -> bool:
    """Whether Triton can really be imported: it is installed on machines where it cannot run."""
    try:
        import triton  # noqa: F401
    except Exception:  # a broken installation raises whatever it likes
        return False
    return True


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())
