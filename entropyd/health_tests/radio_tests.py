"""Tests of what can go wrong with an RTL-SDR and passes the standard's two tests: one per known failure.

Repetition count and adaptive proportion do not see a strong carrier with almost no noise, nor the
receiver's own counter; these do. They may be added by SP 800-90B section 4.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from entropyd.health_tests.continuous_tests import Samples
from entropyd.health_tests.sample_statistics import SampleStatistics, measure
from entropyd.health_tests.spectrum import peak_over_median_db
from entropyd.health_tests.verdicts import Verdict, degraded, failed, uncredited


@dataclass(frozen=True)
class RadioLimits:
    """Where noise ends. LSB are steps of the 8-bit converter; shares go from 0 to 1.

    sigma: below 0.6 LSB thermal noise no longer moves the converter; above 60 it is not noise.
    dc: the converter's middle is 127.5. drift: movement of the mean, plus a part of sigma.
    step_share: the test-mode counter gives 1.0, real noise about 0.15 to 0.3.
    carrier_db: peak over median of the averaged spectrum; healthy noise stays below 6.
    """

    sigma_failed: float = 0.6
    sigma_degraded: float = 0.9
    sigma_high: float = 60.0
    clip_failed: float = 0.01
    clip_degraded: float = 0.001
    dc_failed: float = 20.0
    dc_degraded: float = 10.0
    drift: float = 1.0
    drift_per_sigma: float = 0.1
    step_share: float = 0.6
    identity_share: float = 0.7
    carrier_uncredited_db: float = 12.0
    carrier_failed_db: float = 30.0


class RadioTests:
    """All tests of one chunk; the means of the chunk before are remembered."""

    def __init__(self, limits: RadioLimits) -> None:
        self._limits = limits
        self._means: dict[str, float] = {}

    def check(
        self, in_phase: Samples, quadrature: Samples
    ) -> tuple[list[Verdict], dict[str, SampleStatistics]]:
        """Verdicts that are not a pass, and what was measured for "I" and "Q"."""
        verdicts: list[Verdict] = []
        statistics = {"I": measure(in_phase), "Q": measure(quadrature)}
        for component, measured in statistics.items():
            verdicts += self._check_clipping(component, measured)
            verdicts += self._check_sigma(component, measured)
            verdicts += self._check_offset(component, measured)
            if measured.step_share > self._limits.step_share:
                text = f"{component}: {measured.step_share:.0%} of all steps are the same (a counter?)"
                verdicts.append(failed("predictor", text))
        verdicts += self._check_identity(in_phase, quadrature)
        verdicts += self._check_carrier(in_phase, quadrature)
        return verdicts, statistics

    def _check_clipping(self, component: str, measured: SampleStatistics) -> Iterator[Verdict]:
        text = f"{component}: {measured.clip_share:.2%} of the samples are at the end of the range"
        if measured.clip_share >= self._limits.clip_failed:
            yield failed("clipping", text)
        elif measured.clip_share >= self._limits.clip_degraded:
            yield degraded("clipping", text)

    def _check_sigma(self, component: str, measured: SampleStatistics) -> Iterator[Verdict]:
        limits, sigma = self._limits, measured.sigma
        if sigma < limits.sigma_failed:
            yield failed("sigma", f"{component}: sigma is {sigma:.2f} LSB; raise the gain (below 0.6)")
        elif sigma > limits.sigma_high:
            yield failed("sigma", f"{component}: sigma is {sigma:.1f} LSB; this is a signal, not noise")
        elif sigma < limits.sigma_degraded:
            yield degraded("sigma", f"{component}: sigma is only {sigma:.2f} LSB")

    def _check_offset(self, component: str, measured: SampleStatistics) -> Iterator[Verdict]:
        limits, offset = self._limits, measured.mean - 127.5
        allowed = limits.drift + limits.drift_per_sigma * measured.sigma
        before = self._means.get(component, measured.mean)
        self._means[component] = measured.mean
        moved = max(measured.drift, 1.33 * abs(measured.mean - before))
        if abs(offset) > limits.dc_failed:
            yield failed("dc-offset", f"{component}: the mean lies {offset:+.1f} LSB off the middle")
        elif moved > allowed:
            yield failed("dc-offset", f"{component}: the mean moves by {moved:.2f} LSB")
        elif abs(offset) > limits.dc_degraded:
            yield degraded("dc-offset", f"{component}: the mean lies {offset:+.1f} LSB off the middle")

    def _check_identity(self, in_phase: Samples, quadrature: Samples) -> Iterator[Verdict]:
        some, other = in_phase[::4], quadrature[::4]
        for name, mixed in (("I − Q", some - other), ("I + Q", some + other)):
            share = int(np.bincount(mixed, minlength=256).max()) / mixed.size
            if share > self._limits.identity_share:
                yield failed("iq-identity", f"{name} is the same in {share:.0%} of the samples")

    def _check_carrier(self, in_phase: Samples, quadrature: Samples) -> Iterator[Verdict]:
        peak = peak_over_median_db(in_phase, quadrature)
        if peak > self._limits.carrier_failed_db:
            yield failed("carrier", f"a carrier stands {peak:.0f} dB above the noise; retune")
        elif peak > self._limits.carrier_uncredited_db:
            yield uncredited("carrier", f"a carrier stands {peak:.0f} dB above the noise")
