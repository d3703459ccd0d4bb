"""Chunks of healthy and of broken receivers, by name, for the tests of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from entropyd.source import Chunk, SourceDescription, SourceKind
from entropyd.sources.synthetic import SyntheticReceiver, counter_chunk

RADIO = SourceDescription(SourceKind.RADIO, "rtlsdr:test @ 1420.4 MHz", raw=True)
PAIRS = 131_072
BYTES = 2 * PAIRS


def healthy(seed: int) -> Iterator[bytes]:
    receiver = SyntheticReceiver(seed)
    while True:
        yield receiver.chunk(PAIRS)


def broken_by(change: Callable[[np.ndarray], np.ndarray], seed: int = 11) -> Iterator[bytes]:
    """Healthy noise [pairs, 2] put through `change`."""
    for data in healthy(seed):
        yield change(np.frombuffer(data, np.uint8).reshape(-1, 2).copy()).astype(np.uint8).tobytes()


def repeat_with_period(pairs: int) -> Iterator[bytes]:
    """One recording of `pairs` samples, over and over, its phase running on."""
    loop = next(healthy(21))[: 2 * pairs]
    stream = loop * (2 * BYTES // len(loop) + 4)
    position = 0
    while True:
        start = position % len(loop)
        yield stream[start : start + BYTES]
        position += BYTES


def carrier(decibels: float) -> Iterator[bytes]:
    """A line that stands about `decibels` over the noise of one of 1,024 bins."""
    sigma = 1.3
    noise_per_bin = 2 * sigma**2 * 1024 / 0.8 * (3 / 8)  # Hann window, both components, 80 % band
    amplitude = (10 ** (decibels / 10) * noise_per_bin) ** 0.5 / 512
    receiver = SyntheticReceiver(31, sigma=sigma, carrier_amplitude=amplitude)
    while True:
        yield receiver.chunk(PAIRS)


def synthetic(**arguments: float) -> Iterator[bytes]:
    receiver = SyntheticReceiver(41, **arguments)
    while True:
        yield receiver.chunk(PAIRS)


def saturated(share: float) -> Iterator[bytes]:
    random = np.random.default_rng(5)

    def clip(samples: np.ndarray) -> np.ndarray:
        hit = random.random(samples.shape) < share
        return np.where(hit, np.where(random.random(samples.shape) < 0.5, 0, 255), samples)

    return broken_by(clip)


def counting() -> Iterator[bytes]:
    start = 3
    while True:
        yield counter_chunk(start, BYTES)
        start += BYTES


def same_chunk() -> Iterator[bytes]:
    data = next(healthy(51))
    while True:
        yield data


def identical_components(samples: np.ndarray) -> np.ndarray:
    samples[:, 1] = samples[:, 0]
    return samples


def mirrored_components(samples: np.ndarray) -> np.ndarray:
    samples[:, 1] = 255 - samples[:, 0]
    return samples


def short_reads() -> Iterator[bytes]:
    for data in healthy(61):
        yield data[: len(data) // 2]


# What is wrong, and the test that must name it.
FAILURES: dict[str, tuple[str, Callable[[], Iterator[bytes]]]] = {
    "stuck value": ("repetition-count", lambda: broken_by(lambda s: np.full_like(s, 127))),
    "stuck in-phase only": (
        "repetition-count",
        lambda: broken_by(lambda s: np.stack([np.full_like(s[:, 0], 130), s[:, 1]], axis=1)),
    ),
    "counter": ("predictor", counting),
    "period 2": ("replay", lambda: repeat_with_period(2)),
    "period 3": ("replay", lambda: repeat_with_period(3)),
    "period 17": ("replay", lambda: repeat_with_period(17)),
    "period 256": ("replay", lambda: repeat_with_period(256)),
    "period 1000": ("replay", lambda: repeat_with_period(1000)),
    "period 4096": ("replay", lambda: repeat_with_period(4096)),
    "period of 1.7 chunks": ("replay", lambda: repeat_with_period(222_823)),
    "duplicate chunk": ("duplicate-chunk", same_chunk),
    "carrier +20 dB": ("carrier", lambda: carrier(20)),
    "carrier +30 dB": ("carrier", lambda: carrier(30)),
    "carrier +40 dB": ("carrier", lambda: carrier(40)),
    "carrier +50 dB": ("carrier", lambda: carrier(50)),
    "carrier +60 dB": ("carrier", lambda: carrier(60)),
    "carrier +70 dB": ("carrier", lambda: carrier(70)),
    "carrier with almost no noise": ("carrier", lambda: synthetic(sigma=0.1, carrier_amplitude=60)),
    "saturation 1 %": ("clipping", lambda: saturated(0.0115)),
    "saturating carrier": ("clipping", lambda: synthetic(sigma=3.0, carrier_amplitude=400)),
    "sigma 0.3": ("sigma", lambda: synthetic(sigma=0.3)),
    "I = Q": ("iq-identity", lambda: broken_by(identical_components)),
    "I = 255 - Q": ("iq-identity", lambda: broken_by(mirrored_components)),
    "DC ramp": ("dc-offset", lambda: synthetic(offset_per_chunk=2.0)),
    "DC jump": ("dc-offset", lambda: synthetic(offset=40.0)),
    "short reads": ("short-read", short_reads),
}


class Feed:
    """Makes chunks of byte strings, with sequence and time running on from one kind to the next."""

    def __init__(self) -> None:
        self.sequence = 0

    def chunk(self, data: bytes, *, dropped: int = 0, pause: float = 0.0) -> Chunk:
        at = self.sequence * PAIRS / 2.4e6 + pause
        chunk = Chunk(data, self.sequence, at, BYTES, dropped_bytes=dropped)
        self.sequence += 1
        return chunk
