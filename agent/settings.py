"""Settings of agentd. Provider keys are read here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.errors import ConfigurationError
from services.security import ClientSecurity, read_secret
from services.settings import DaemonSettings

KEY_NAMES: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
SECRETS_FOLDER = Path("/run/secrets")


class AgentSettings(DaemonSettings):
    """Flags and AUTORESEARCH_AGENTD_* names."""

    model_config = SettingsConfigDict(env_prefix="AUTORESEARCH_AGENTD_")
    daemon_name: ClassVar[str] = "agentd"

    listen: str = "127.0.0.1:50054"
    """gRPC address HOST:PORT; port 0 picks a free one and prints it."""
    http_listen: str = "127.0.0.1:8780"
    """Address of the dashboard and /metrics; port 0 picks a free one and prints it."""
    drain_seconds: float = 1.0
    """How long running calls may finish after SIGTERM."""
    trainer: str = "127.0.0.1:50053"
    """HOST:PORT of trainerd."""
    trainer_token_file: Path | None = None
    """File with the bearer token that trainerd demands."""
    memory: str = ""
    """HOST:PORT of memoryd; empty: the lab remembers nothing beyond its ledger."""
    memory_token_file: Path | None = None
    """File with the bearer token that memoryd demands."""
    entropy: str = ""
    """HOST:PORT of entropyd; empty: the operating system gives the seeds, and the records say so."""
    entropy_token_file: Path | None = None
    """File with the bearer token that entropyd demands."""
    peer_ca: Path | None = None
    """CA of the other daemons' certificates (PEM); turns on TLS to them."""
    peer_cert: Path | None = None
    """Certificate that this daemon shows to the others (PEM)."""
    peer_key: Path | None = None
    """Private key of --peer-cert (PEM)."""
    prices: Path | None = None
    """TOML file with prices of language models, read before the shipped list."""
    replicates: int = Field(default=5, ge=2, le=10)
    """Replicates of the baseline from which the noise is first estimated."""
    trainer_patience: float = Field(default=300.0, ge=0.0)
    """Seconds for which the trainer may be away before a session stops."""
    proposal_limit_seconds: float = Field(default=900.0, gt=0.0)
    """Time in which a proposer must have an idea; what takes longer costs one slot."""

    def peer(self, token_file: Path | None, flag: str) -> ClientSecurity:
        """Credentials for a call to another daemon. Raises ConfigurationError for an unreadable file."""
        return ClientSecurity(read_secret(token_file, flag), self.peer_ca, self.peer_cert, self.peer_key)


@dataclass(frozen=True)
class ProviderKeys:
    """Keys by provider name; never printed."""

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get(self, provider: str) -> str | None:
        return self.keys.get(provider)

    @property
    def providers(self) -> list[str]:
        """Providers with a key, in order of preference."""
        return [name for name in KEY_NAMES if name in self.keys]


def read_keys(environment: Mapping[str, str] | None = None, secrets: Path = SECRETS_FOLDER) -> ProviderKeys:
    """Keys from the providers' usual environment names, else from secret files of those names.

    Raises ConfigurationError for a secret file that cannot be read.
    """
    environment = os.environ if environment is None else environment  # noqa: TID251 - the one place
    keys: dict[str, str] = {}
    for provider, names in KEY_NAMES.items():
        for name in names:
            value = environment.get(name, "").strip() or _from_file(secrets / name.lower())
            if value and provider not in keys:
                keys[provider] = value
    return ProviderKeys(keys)


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secret file {path} cannot be read: {error}") from error
