"""How a receiver is set: where thermal noise, and as little else as possible, reaches the converter."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

QUIET_FREQUENCY_HZ = 1_420_400_000  # 1400–1427 MHz: emissions are prohibited, for radio astronomy
SMALL_RATE = 1_024_000
FULL_RATE = 2_400_000


@dataclass(frozen=True)
class Tuning:
    """gain_db None means the highest that the tuner has; automatic gain is always off, for it follows
    signals. chunk_bytes is a multiple of 16,384, what one USB transfer can be."""

    frequency_hz: int = QUIET_FREQUENCY_HZ
    sample_rate: int = FULL_RATE
    gain_db: float | None = None
    serial: str = ""
    chunk_bytes: int = 262_144
    library_folder: str = ""

    @property
    def chunk_seconds(self) -> float:
        """How long the receiver takes for one chunk of I and Q bytes."""
        return self.chunk_bytes / 2 / self.sample_rate

    @property
    def longest_gap_seconds(self) -> float:
        """A pause between two chunks from which samples count as lost: half a second or two chunks."""
        return max(0.5, 2 * self.chunk_seconds)


def default_sample_rate(machine: str | None = None, cores: int | None = None) -> int:
    """1.024 MS/s on small ARM boards, whose single core would be busy with more; else 2.4 MS/s."""
    machine = (machine or platform.machine()).lower()
    cores = cores or os.cpu_count() or 1
    is_small_arm = machine.startswith("arm") or (machine == "aarch64" and cores <= 4)
    return SMALL_RATE if is_small_arm else FULL_RATE
