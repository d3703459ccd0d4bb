"""Why a run failed, as one of a few names that the trainer stores. No torch here.

SYNTAX_ERROR, IMPORT_ERROR, CONTRACT_VIOLATION, NOT_FINITE, OUT_OF_MEMORY_DEVICE, OUT_OF_MEMORY_HOST,
DISK_FULL, COMPILE_FAILED, DEVICE_LOST, RUNTIME_ERROR.
"""

import errno


class ContractError(Exception):
    """The candidate, its run description or its data does not keep the contract of docs/candidate.md."""


class NotFiniteError(Exception):
    """The loss became NaN, infinite or larger than 100."""


def classify_failure(error: BaseException) -> str:
    """The reason for an exception that ended a run."""
    chain = _causes(error)
    for cause in chain:
        if isinstance(cause, SyntaxError):
            return "SYNTAX_ERROR"
        if isinstance(cause, ContractError):
            return "CONTRACT_VIOLATION"
        if isinstance(cause, NotFiniteError):
            return "NOT_FINITE"
        if isinstance(cause, MemoryError):
            return "OUT_OF_MEMORY_HOST"
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "DISK_FULL"
        if reason := _torch_reason(cause):
            return reason
    return "IMPORT_ERROR" if any(isinstance(cause, ImportError) for cause in chain) else "RUNTIME_ERROR"


def _torch_reason(error: BaseException) -> str:
    """Recognises torch's exceptions by name and text, so that this module needs no torch."""
    name, text = type(error).__name__, str(error)
    module = type(error).__module__
    if name == "OutOfMemoryError" or "CUDA out of memory" in text or "MPS backend out of memory" in text:
        return "OUT_OF_MEMORY_DEVICE"
    if "can't allocate memory" in text or "not enough memory" in text:
        return "OUT_OF_MEMORY_HOST"
    if module.startswith(("torch._dynamo", "torch._inductor", "triton")):
        return "COMPILE_FAILED"
    if "No space left on device" in text:
        return "DISK_FULL"
    lost = ("CUDA error", "device-side assert", "unspecified launch failure", "NCCL error")
    return "DEVICE_LOST" if any(sign in text for sign in lost) else ""


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__
    return found
