"""Looks for a carrier: a spectral line says that a transmitter, not noise, moves the samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from entropyd.health_tests.continuous_tests import Samples

SEGMENT = 1024
SEGMENTS = 16
_WINDOW = np.hanning(SEGMENT).astype(np.float32)


def peak_over_median_db(in_phase: Samples, quadrature: Samples) -> float:
    """Largest over median power of the averaged spectrum, in dB; 0 for a chunk without any power.

    16 Hann windows of 1,024 pairs spread over the chunk, their mean removed: a constant offset is no
    carrier. Healthy noise gives 3 to 5 dB. Takes at least 1,024 pairs.
    """
    available = in_phase.size // SEGMENT
    segments = min(SEGMENTS, available)
    stride = available // segments * SEGMENT
    starts = np.arange(segments) * stride
    index = starts[:, None] + np.arange(SEGMENT)
    signal = in_phase[index].astype(np.float32) + 1j * quadrature[index].astype(np.float32)
    signal -= signal.mean(axis=1, keepdims=True)
    power = _power(signal * _WINDOW)
    peak, median = float(power.max()), float(np.median(power))
    if peak <= 0.0:
        return 0.0
    return 10 * math.log10(peak / max(median, peak * 1e-12))


def _power(signal: NDArray[np.complex64]) -> NDArray[np.float32]:
    spectrum = np.fft.fft(signal, axis=1)
    power: NDArray[np.float32] = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    return power
