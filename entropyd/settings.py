"""Settings of entropyd: flags, AUTORESEARCH_ENTROPYD_* or a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from entropyd.sources.tuning import QUIET_FREQUENCY_HZ, Tuning, default_sample_rate
from entropyd.station import Timers
from services.outgoing_https import HttpsTrust, https_trust
from services.security import read_secret
from services.settings import DaemonSettings


class EntropydSettings(DaemonSettings):
    """entropyd: random bytes with an account of where they came from.

    Other verbs: entropyd assess | probe | bench, each with --help.
    """

    model_config = SettingsConfigDict(env_prefix="AUTORESEARCH_ENTROPYD_")
    daemon_name: ClassVar[str] = "entropyd"

    listen: str = "127.0.0.1:50051"
    """gRPC address HOST:PORT; port 0 picks a free one and prints it."""
    http_listen: str = "127.0.0.1:9090"
    """Address of the HTTP side and /metrics; port 0 picks a free one and prints it."""
    source: str = "auto"
    """auto (the dongle if there is one, else the system), rtlsdr:[SERIAL], rtl_tcp://HOST:PORT, file:PATH,
    http(s)://HOST:9090, or os:."""
    state: Path | None = None
    """Folder of the signing key, receipts, seed packs and site report; without one they end with the
    process."""
    http_open: bool = False
    """Show /api/entropy, /api/entropy/stream, /api/time and /api/status to clients without credentials."""
    http_policy: Literal["fallback", "refuse"] = "fallback"
    """What the HTTP routes do without a healthy radio: answer from the system, or refuse with 503."""
    frequency: int = Field(default=QUIET_FREQUENCY_HZ, ge=500_000, le=2_200_000_000)
    """Hz; the default lies in a band where nobody may transmit."""
    sample_rate: int | None = Field(default=None, ge=225_001, le=3_200_000)
    """Samples a second; default 2,400,000, on small ARM boards 1,024,000."""
    gain: float | None = Field(default=None, ge=0, le=60)
    """dB; default is the highest of the tuner. Automatic gain is always off."""
    serial: str = ""
    """Serial number of the dongle, where there are several."""
    rtlsdr_library: str = ""
    """Folder of a librtlsdr.so to use instead of the one that pyrtlsdrlib brings."""
    usb_devices: Path = Path("/sys/bus/usb/devices")
    """Where `auto` looks whether a dongle is plugged in."""
    source_token: SecretStr | None = None
    """Bearer token for an http:// source; prefer --source-token-file."""
    source_token_file: Path | None = None
    """File with the bearer token for an http:// source."""
    https_ca: Path | None = None
    """CA of an https:// source, beside the system's (PEM)."""
    https_cert: Path | None = None
    """Certificate that entropyd shows to an https:// source that asks for one (PEM)."""
    https_key: Path | None = None
    """Private key of --https-cert (PEM)."""
    chunk_bytes: int = Field(default=262_144, ge=32_768, le=4_194_304, multiple_of=16_384)
    """Bytes tested at a time."""
    settle_seconds: float = Field(default=1.0, ge=0)
    """Samples thrown away after opening the receiver."""
    stall_seconds: float = Field(default=2.0, gt=0)
    """Silence after which the receiver counts as dead; at least as long as four chunks take."""
    reopen_seconds: float = Field(default=0.25, gt=0)
    """First pause before a failed source is opened again; doubles up to --reopen-most-seconds."""
    reopen_most_seconds: float = Field(default=1.0, gt=0)
    """Longest pause before a failed source is opened again."""
    absent_most_seconds: float = Field(default=60.0, gt=0)
    """Longest pause before a dongle or library that is not there is looked for again."""
    permanent_seconds: float = Field(default=30.0, gt=0)
    """Pause after a failure at the level of 2^-60."""

    def tuning(self) -> Tuning:
        return Tuning(
            frequency_hz=self.frequency,
            sample_rate=self.sample_rate or default_sample_rate(),
            gain_db=self.gain,
            serial=self.serial,
            chunk_bytes=self.chunk_bytes,
            library_folder=self.rtlsdr_library,
        )

    def timers(self) -> Timers:
        return Timers(
            settle=self.settle_seconds,
            stall=max(self.stall_seconds, 4 * self.tuning().chunk_seconds),
            reopen=self.reopen_seconds,
            reopen_most=self.reopen_most_seconds,
            absent_most=self.absent_most_seconds,
            permanent=self.permanent_seconds,
        )

    def https_trust(self) -> HttpsTrust:
        """Raises ConfigurationError for files that are no use."""
        return https_trust(self.https_ca, self.https_cert, self.https_key)

    def remote_token(self) -> str | None:
        """Raises ConfigurationError when the file cannot be read."""
        if self.source_token is not None:
            return self.source_token.get_secret_value()
        return read_secret(self.source_token_file, "--source-token-file")
