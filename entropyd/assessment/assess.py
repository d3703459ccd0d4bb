"""`entropyd assess`: how much entropy the samples of this receiver at this site have, after SP 800-90B.

Gathers 1,000,000 raw samples in a row and a matrix of 1,000 restarts by 1,000 samples, estimates, and
writes a signed report into the state folder. With a report the daemon credits up to 0.5 bit per sample
instead of 0.1. Terminate the antenna input before an assessment: a signal raises estimates, not entropy.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from entropyd.assessment.estimators import Estimates, estimate_all
from entropyd.assessment.gathering import gather_restarts, gather_samples
from entropyd.assessment.nist_tool import compare_with_ours, nist_results, run_nist_tool
from entropyd.assessment.restart_check import check_restarts
from entropyd.assessment.site_report import SiteReport, credit_for, write_report
from entropyd.conditioning.pipeline import PipelineSettings
from entropyd.health_tests.continuous_tests import Samples
from entropyd.records.state_store import StateStore
from entropyd.settings import EntropydSettings
from entropyd.source import EntropySource, SourceUnavailableError
from entropyd.sources import source_opener
from entropyd.sources.tuning import Tuning, default_sample_rate
from services.errors import ConfigurationError
from services.version import installed_version

DEFAULT_CREDIT = Fraction(1, 10)
RESTART_CHUNK = 32_768


def judge(
    samples: Samples, restarts: Samples, alarms: Sequence[str], nist: dict[str, float]
) -> tuple[Estimates, float, bool, Fraction, list[str]]:
    """Estimates, the lowest of all, whether restarts are sound, the credit, and why no more is credited.

    `restarts` is [rows, columns]; rows are estimated joined one after the other, columns likewise.
    """
    estimates = estimate_all(samples)
    rows, columns = estimate_all(restarts.reshape(-1)), estimate_all(restarts.T.copy().reshape(-1))
    lowest = min([estimates.lowest, rows.lowest, columns.lowest, *nist_results(nist)])
    restart_ok = check_restarts(restarts, estimates.lowest)
    problems = [f"health test {name} failed while gathering" for name in alarms]
    if not restart_ok:
        problems.append("a value stands out in the restart matrix: the start of the stream is predictable")
    if min(rows.lowest, columns.lowest) < estimates.lowest / 2:
        problems.append("restarts have less than half the entropy of the running stream")
    credit = credit_for(lowest)
    if credit < DEFAULT_CREDIT:
        problems.append(f"the estimate of {lowest:.3f} bit per sample does not carry even the default of 0.1")
    if samples.size < 1_000_000 or restarts.shape[0] < 1000 or restarts.shape[1] < 1000:
        problems.append("fewer than 1,000,000 samples or 1,000 x 1,000 restarts: a trial run")
    return estimates, lowest, restart_ok, credit, problems


async def assess(
    open_source: Callable[[], EntropySource],
    open_for_restart: Callable[[], EntropySource],
    tuning: Tuning,
    *,
    sample_count: int,
    rows: int,
    columns: int,
    settle_seconds: float,
    say: Callable[[str], None],
    raw_file: Path | None = None,
) -> SiteReport:
    """Raises SourceUnavailableError when the source ends before enough was gathered."""
    say(f"gathering {sample_count:,} samples")
    settings = PipelineSettings(max_gap_seconds=tuning.longest_gap_seconds)
    samples, alarms, detail = await gather_samples(
        open_source, sample_count, settle_seconds, settings=settings
    )
    say(f"restarting {rows:,} times")
    restarts = await gather_restarts(open_for_restart, rows, columns, say)
    if raw_file is not None:
        await asyncio.to_thread(raw_file.write_bytes, samples.tobytes())
    nist, nist_text = await asyncio.to_thread(run_nist_tool, samples)
    say("estimating")
    estimates, lowest, restart_ok, credit, problems = judge(samples, restarts, alarms, nist)
    problems += compare_with_ours(nist, estimates)
    return SiteReport(
        source_detail=detail,
        sample_rate=tuning.sample_rate,
        gain_db=tuning.gain_db,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=installed_version(),
        sample_count=samples.size,
        restart_rows=rows,
        restart_columns=columns,
        estimates=asdict(estimates),
        lowest_estimate=lowest,
        restart_ok=restart_ok,
        nist_tool=nist_text,
        raw_sha256=hashlib.sha256(samples.tobytes()).hexdigest(),
        credited_bits_per_sample=str(credit if not problems else DEFAULT_CREDIT),
        problems=problems,
    )


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 for a report that allows more credit, 1 for one that does not or where none was made."""
    parser = argparse.ArgumentParser(prog="entropyd assess", description=__doc__)
    parser.add_argument("--source", required=True, help="rtlsdr:[SERIAL], rtl_tcp://HOST:PORT or file:PATH")
    parser.add_argument("--state", type=Path, required=True, help="state folder of the daemon")
    parser.add_argument("--samples", type=int, default=1_000_000, help="raw samples in a row")
    parser.add_argument("--restarts", type=int, default=1000, help="how often the receiver is reopened")
    parser.add_argument("--restart-samples", type=int, default=1000, help="samples after each reopening")
    parser.add_argument("--settle-seconds", type=float, default=1.0, help="thrown away before the long run")
    parser.add_argument("--frequency", type=int, default=Tuning.frequency_hz, help="Hz")
    parser.add_argument("--sample-rate", type=int, default=default_sample_rate(), help="samples a second")
    parser.add_argument("--gain", type=float, default=None, help="dB; default the highest")
    parser.add_argument("--rtlsdr-library", default="", help="folder of a librtlsdr.so to use")
    parser.add_argument("--raw-file", type=Path, default=None, help="keep the raw samples here")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    options = parser.parse_args(arguments)
    refuse_out_of_bounds(options)
    tuning = Tuning(
        frequency_hz=options.frequency,
        sample_rate=options.sample_rate,
        gain_db=options.gain,
        library_folder=options.rtlsdr_library,
    )
    if not source_opener(options.source, tuning)().description.raw:
        raise ConfigurationError(f"--source: {options.source!r} gives no raw samples to assess")

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")

    with StateStore(options.state) as store:
        try:
            report = asyncio.run(
                assess(
                    source_opener(options.source, tuning),
                    source_opener(options.source, replace(tuning, chunk_bytes=RESTART_CHUNK)),
                    tuning,
                    sample_count=options.samples,
                    rows=options.restarts,
                    columns=options.restart_samples,
                    settle_seconds=options.settle_seconds,
                    say=say,
                    raw_file=options.raw_file,
                )
            )
        except SourceUnavailableError as error:
            say(f"error: {error} ({error.cause})")
            return 1
        path = write_report(report, store.private_key, options.state)
    show(report, path, options.json)
    return 1 if report.problems else 0


def refuse_out_of_bounds(options: argparse.Namespace) -> None:
    """Raises ConfigurationError before minutes of gathering are lost."""
    if options.samples < 20_000 or options.restarts < 10 or options.restart_samples < 100:
        raise ConfigurationError(
            "assess: at least --samples 20000, --restarts 10 and --restart-samples 100 are needed"
        )
    for name, most in (("restart_samples", RESTART_CHUNK), ("settle_seconds", 3600)):
        if not 0 <= getattr(options, name) <= most:
            flag = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{flag}: {getattr(options, name)} is not within 0 to {most}")
    try:  # the receiver's own bounds are those of the daemon
        EntropydSettings(frequency=options.frequency, sample_rate=options.sample_rate, gain=options.gain)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigurationError(f"{flag}: {first['input']} cannot be: {first['msg']}") from error
    if options.raw_file is not None:
        try:
            options.raw_file.touch()
        except OSError as error:
            raise ConfigurationError(
                f"--raw-file: cannot write {options.raw_file}: {error.strerror}"
            ) from error


def show(report: SiteReport, path: Path, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        return
    lines = [f"{name}: {value:.3f}" for name, value in report.estimates.items()]
    lines += [
        f"lowest estimate: {report.lowest_estimate:.3f} bit per 8-bit sample",
        f"NIST tool: {report.nist_tool or 'not installed'}",
        f"restarts: {'sound' if report.restart_ok else 'NOT sound'}",
        *(f"problem: {problem}" for problem in report.problems),
        f"credited: {float(Fraction(report.credited_bits_per_sample)):g} bit per sample",
        f"report: {path}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
