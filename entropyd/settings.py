"""Settings of entropyd: flags, AUTORESEARCH_ENTROPYD_* or a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic_settings import SettingsConfigDict

from services.settings import DaemonSettings


class EntropydSettings(DaemonSettings):
    """entropyd: random bytes with an account of where they came from."""

    model_config = SettingsConfigDict(env_prefix="AUTORESEARCH_ENTROPYD_")
    daemon_name: ClassVar[str] = "entropyd"

    listen: str = "127.0.0.1:50051"
    """gRPC address HOST:PORT; port 0 picks a free one and prints it."""
    http_listen: str = "127.0.0.1:9090"
    """Address of the HTTP side and /metrics; port 0 picks a free one and prints it."""
    source: str = "auto"
    """auto (the dongle if there is one, else the system), rtlsdr:[SERIAL], rtl_tcp://HOST:PORT, file:PATH,
    http://HOST:9090, or os:."""
    state: Path | None = None
    """Folder of the signing key, receipts and seed packs; without one they end with the process."""
    http_open: bool = False
    """Show /api/entropy, /api/entropy/stream, /api/time and /api/status to clients without credentials."""
    http_policy: Literal["fallback", "refuse"] = "fallback"
    """What the HTTP routes do without a healthy radio: answer from the system, or refuse with 503."""
