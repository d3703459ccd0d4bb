"""Settings of memoryd: flags, AUTORESEARCH_MEMORYD_*, a TOML file; ferricula's PORT and MCP_PORT."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.errors import ConfigurationError
from services.outgoing_https import HttpsTrust, https_trust
from services.settings import DaemonSettings


class MemorydSettings(DaemonSettings):
    """memoryd: remembers what was tried and learnt, and finds it again."""

    model_config = SettingsConfigDict(env_prefix="AUTORESEARCH_MEMORYD_")
    daemon_name: ClassVar[str] = "memoryd"

    listen: str = "127.0.0.1:50052"
    """gRPC address HOST:PORT; port 0 picks a free one and prints it."""
    http_listen: str = "127.0.0.1:8765"
    """Address of ferricula's HTTP API, the dashboard and /metrics; port 0 picks a free one and prints it."""
    backend: str = "sqlite:///memory.db"
    """sqlite:///PATH, postgresql://USER@HOST/DATABASE or ferricula+http(s)://HOST:8765."""
    read_only: bool = False
    """Open the store for reading only."""
    embedder: str = "static"
    """static (no torch), minilm, the http(s) URL of a shivvr-compatible service, or none (words only)."""
    embedder_token: SecretStr | None = None
    """Bearer token for an embedding service."""
    entropy: str = ""
    """HOST:PORT of an entropyd that feeds the clock."""
    entropy_token_file: Path | None = None
    """File with the bearer token for entropyd."""
    entropy_ca: Path | None = None
    """CA of entropyd's certificate (PEM); turns on TLS towards it."""
    entropy_cert: Path | None = None
    """Certificate that memoryd shows to an entropyd with mutual TLS (PEM)."""
    entropy_key: Path | None = None
    """Private key of --entropy-cert (PEM)."""
    radio_url: str = ""
    """http(s):// address of a gnosis-radio, asked when entropyd does not answer."""
    https_ca: Path | None = None
    """CA of https:// servers that memoryd calls: radio, remote store, embedder; beside the system's (PEM)."""
    https_cert: Path | None = None
    """Certificate that memoryd shows to an https:// server that asks for one (PEM)."""
    https_key: Path | None = None
    """Private key of --https-cert (PEM)."""
    local_entropy: bool = False
    """Let the operating system feed the clock when nothing else does, so that the store dreams by itself."""
    clock_tick_seconds: float = Field(default=60.0, ge=0)
    """Nominal pause between two ticks of the clock; 0 stops the clock."""
    dream_threshold_bytes: int = Field(default=16, ge=1, le=1024)
    """Entropy that must have come together before the clock dreams; its reservoir holds 1,024 bytes."""
    resonance: Literal["off", "lifecycle", "full"] = "lifecycle"
    """Gates of /recall after a dream: off, lifecycle (state and fidelity), or full (as ferricula 0.9)."""
    strict: bool = False
    """Refuse a /remember without id, tags or vector, as ferricula does, instead of completing it."""
    name: str = ""
    """Name shown before the identity's own in the status and on the dashboard."""
    edge_anchor_count: int = Field(default=10, ge=0, le=1000)
    """Anchors of the dream's semantic discovery."""
    edge_explorer_count: int = Field(default=30, ge=0, le=1000)
    """Explorers of the dream's semantic discovery."""
    edge_max_per_dream: int = Field(default=12, ge=0)
    """Edges that one dream may discover."""
    fade_archived: bool = False
    """Let archived memories fade on in every dream, so that their records are pruned in the end."""
    http_open: bool = False
    """Show ferricula's routes to clients of other machines that have no credentials."""
    allow_origin: list[str] = Field(default_factory=list)
    """Origins beside localhost whose web pages may change the store (scheme://host:port)."""
    mcp_listen: str = ""
    """Address of the MCP surface over HTTP (path /mcp); empty: none. Always on loopback or with a token."""
    mcp_surface: Literal["cognitive", "system", "all"] = "all"
    """Tools of the MCP surface: cognitive, system or all."""
    sentinel: Path | None = None
    """File, best on another volume, that knows whether the store was empty; default: beside the store."""
    index_snapshot: Path | None = None
    """File that keeps search terms from start to start, only to be fast; default: beside a SQLite store."""
    accept_empty_store: bool = False
    """Start with an empty store although the sentinel knows of a full one."""

    def https_trust(self) -> HttpsTrust:
        """Raises ConfigurationError for files that are no use."""
        return https_trust(self.https_ca, self.https_cert, self.https_key)


def with_ferricula_ports(
    settings: MemorydSettings, environment: Mapping[str, str] | None = None
) -> MemorydSettings:
    """PORT and MCP_PORT replace the ports of addresses that are still the defaults.

    Raises ConfigurationError for a value that is not a port.
    """
    environment = os.environ if environment is None else environment  # noqa: TID251 - ferricula's own names
    changes: dict[str, str] = {}
    for name, field, default in (("PORT", "http_listen", "127.0.0.1:8765"), ("MCP_PORT", "mcp_listen", "")):
        value = environment.get(name, "")
        if not value or getattr(settings, field) != default:
            continue
        if not value.isdecimal() or int(value) > 65535:
            raise ConfigurationError(f"{name}: {value!r} is not a port number")
        changes[field] = f"127.0.0.1:{value}"
    return settings.model_copy(update=changes)
