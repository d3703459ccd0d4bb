"""The signed result of an assessment at one site: what raises the credited min-entropy above 0.1."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from entropyd.conditioning.pipeline import LARGEST_MIN_ENTROPY
from entropyd.sources.tuning import Tuning

FILE_NAME = "site-report.json"


@dataclass(frozen=True)
class SiteReport:
    """estimates and credited_bits_per_sample in bits per 8-bit sample; raw_sha256 of the assessed bytes.

    restart_ok: no value stood out in any row or column of the restart matrix. nist_tool: what
    ea_non_iid said, empty where it is not installed. problems: why nothing more is credited.
    """

    source_detail: str
    sample_rate: int
    gain_db: float | None
    made_at: str
    version: str
    sample_count: int
    restart_rows: int
    restart_columns: int
    estimates: dict[str, float]
    lowest_estimate: float
    restart_ok: bool
    nist_tool: str
    raw_sha256: str
    credited_bits_per_sample: str
    problems: list[str]
    note: str = "an assessment after SP 800-90B by the operator; no laboratory has looked at it"

    @property
    def min_entropy(self) -> Fraction:
        return Fraction(self.credited_bits_per_sample)


def credit_for(lowest_estimate: float) -> Fraction:
    """Half the lowest estimate, in steps of 0.05 bit, at most 0.5."""
    steps = int(lowest_estimate / 2 * 20)
    return min(Fraction(steps, 20), LARGEST_MIN_ENTROPY)


def write_report(report: SiteReport, private_key: bytes, folder: Path) -> Path:
    """Writes STATE/site-report.json, whole or not at all."""
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    text = json.dumps(asdict(report), sort_keys=True, separators=(",", ":"))
    signed = {"report": text, "signature": key.sign(text.encode()).hex()}
    path = folder / FILE_NAME
    part = path.with_suffix(".part")
    part.write_text(json.dumps(signed, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read_report(
    folder: Path, verify_key: bytes, *, source_detail: str, tuning: Tuning
) -> tuple[SiteReport | None, str]:
    """The report, or None and why not: missing (no reason given), damaged, or of another set-up."""
    path = folder / FILE_NAME
    if not path.exists():
        return None, ""
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        text, signature = str(signed["report"]), bytes.fromhex(signed["signature"])
        Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, text.encode())
        values = json.loads(text)
        report = SiteReport(**{field.name: values[field.name] for field in fields(SiteReport)})
        usable = Fraction(0) < report.min_entropy <= LARGEST_MIN_ENTROPY
    except InvalidSignature:
        return None, f"{path.name} is not signed with this state folder's key; it is ignored"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{path.name} cannot be read ({type(error).__name__}); it is ignored"
    assessed = (report.source_detail, report.sample_rate, report.gain_db)
    present = (source_detail, tuning.sample_rate, tuning.gain_db)
    if assessed != present:
        return None, f"{path.name} is of {_describe(*assessed)}, not of {_describe(*present)}; it is ignored"
    if not usable or report.problems:
        return None, f"{path.name} allows no more credit: {'; '.join(report.problems) or 'no entropy'}"
    return report, ""


def _describe(source_detail: str, sample_rate: int, gain_db: float | None) -> str:
    gain = "highest gain" if gain_db is None else f"{gain_db:g} dB"
    return f"{source_detail!r} at {sample_rate / 1e6:g} MS/s and {gain}"
