"""Synthetic receivers: I/Q bytes as an RTL-SDR makes them, healthy or broken in a known way.

The model: white Gaussian amplifier noise, a low-pass FIR as in the RTL2832's decimator, rounding to
unsigned 8 bits around 127.5. For tests, benchmarks and demonstrations; never a source of entropy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TAPS = 32


def low_pass_taps(bandwidth: float) -> NDArray[np.float64]:
    """32 Hann-windowed sinc taps that pass `bandwidth` (0 … 1) of the spectrum, with unit noise gain."""
    time = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.sinc(bandwidth * time) * np.hanning(_TAPS + 2)[1:-1]
    return np.asarray(taps / np.sqrt(np.sum(taps**2)))


@dataclass
class SyntheticReceiver:
    """Gives one chunk after the other. sigma in LSB per component; carrier_amplitude in LSB at
    `carrier_frequency` cycles per sample; offset and offset_per_chunk in LSB; the phase goes on."""

    seed: int
    sigma: float = 1.3
    bandwidth: float = 0.8
    carrier_amplitude: float = 0.0
    carrier_frequency: float = 0.1234
    offset: float = 0.0
    offset_per_chunk: float = 0.0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._taps = low_pass_taps(self.bandwidth)
        self._tail = np.zeros((_TAPS - 1, 2))
        self._position = 0

    def chunk(self, pairs: int = 131_072) -> bytes:
        """2 · pairs bytes, I and Q in turn."""
        noise = self._random.standard_normal((pairs, 2), dtype=np.float32)
        padded = np.concatenate([self._tail, noise])
        self._tail = padded[-(_TAPS - 1) :]
        filtered = np.stack(
            [np.convolve(padded[:, column], self._taps, mode="valid") for column in (0, 1)], axis=1
        )
        signal = 127.5 + self.offset + self.sigma * filtered
        index = self._position + np.arange(pairs)
        if self.carrier_amplitude:
            phase = 2 * np.pi * self.carrier_frequency * index
            signal += self.carrier_amplitude * np.stack([np.cos(phase), np.sin(phase)], axis=1)
        signal += self.offset_per_chunk * (index / pairs)[:, None]
        self._position += pairs
        return np.clip(np.rint(signal), 0, 255).astype(np.uint8).tobytes()


def counter_chunk(start: int, byte_count: int = 262_144) -> bytes:
    """The receiver's test mode: bytes that count up modulo 256."""
    return ((start + np.arange(byte_count)) % 256).astype(np.uint8).tobytes()
