"""Settings of a daemon: read once, frozen, passed on as arguments.

Precedence: flags > environment > configuration file (TOML) > default. An unknown environment name with
the daemon's prefix is an error, because pydantic-settings would ignore a typing mistake silently.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from services.errors import ConfigurationError
from services.security import ServerSecurity, read_secret

SettingsT = TypeVar("SettingsT", bound="DaemonSettings")
# pydantic-settings reads os.environ and takes no other: this brings the one that `load_settings` was given.
_given: ContextVar[Mapping[str, str] | None] = ContextVar("environment", default=None)


class DaemonSettings(BaseSettings):
    """What every daemon needs. Subclasses set `env_prefix` and defaults for the two addresses."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )
    daemon_name: ClassVar[str] = "daemon"

    listen: str = "127.0.0.1:0"
    """gRPC address HOST:PORT; port 0 picks a free one and prints it."""
    http_listen: str = "127.0.0.1:0"
    """Address of the HTTP side and /metrics; port 0 picks a free one and prints it."""
    token: SecretStr | None = None
    """Bearer token that callers must send; prefer --token-file."""
    token_file: Path | None = None
    """File that holds the bearer token."""
    tls_cert: Path | None = None
    """Server certificate chain (PEM)."""
    tls_key: Path | None = None
    """Private key of the server certificate (PEM)."""
    tls_client_ca: Path | None = None
    """CA that client certificates must come from (PEM); turns on mutual TLS."""
    reflection: bool = False
    """Serve gRPC reflection, which shows every message type to callers."""
    drain_seconds: float = 10.0
    """How long running calls may finish after SIGTERM."""
    log_level: str = "info"
    """debug, info, warning or error."""
    exit_with_parent: bool = False
    """End when the process that started this one ends."""
    config: Path | None = None
    """TOML file with any of these settings, names with underscores."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = _given.get()
        if given is not None and isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {name.lower(): value for name, value in given.items()}
        return env_settings, init_settings  # init values are the configuration file's

    def security(self) -> ServerSecurity:
        """The credentials this daemon demands. Raises ConfigurationError when a file cannot be read."""
        token = self.token.get_secret_value() if self.token else read_secret(self.token_file, "--token-file")
        return ServerSecurity(token, self.tls_cert, self.tls_key, self.tls_client_ca)


def load_settings(
    kind: type[SettingsT], arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> SettingsT:
    """Reads flags, environment (the process's, where None) and file. Raises ConfigurationError that names
    flag, value and way out.

    `--help` prints and exits with 0; an unknown flag exits with 2, as argparse does.
    """
    prefix = str(kind.model_config.get("env_prefix", ""))
    environment = os.environ if environment is None else environment  # noqa: TID251 - the one place
    refuse_unknown_names(kind, prefix, environment)
    read = _given.set(environment)
    try:
        values: dict[str, Any] = _read_file(kind, prefix, arguments, environment)
        values |= {"_cli_parse_args": list(arguments), "_cli_prog_name": kind.daemon_name}
        return kind(**values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error
    finally:
        _given.reset(read)


def refuse_unknown_names(kind: type[BaseSettings], prefix: str, environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError for names that carry the prefix and mean nothing."""
    if not prefix:
        return
    known = {f"{prefix}{name}".upper() for name in kind.model_fields}
    unknown = sorted(
        name for name in environment if name.upper().startswith(prefix) and name.upper() not in known
    )
    if unknown:
        raise ConfigurationError(
            f"unknown environment name {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def _read_file(
    kind: type[DaemonSettings], prefix: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    path_text = environment.get(f"{prefix}CONFIG", "")
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            path_text = arguments[position + 1]
        elif argument.startswith("--config="):
            path_text = argument.partition("=")[2]
    if not path_text:
        return {}
    try:
        values = tomllib.loads(Path(path_text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"--config: cannot read {path_text!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config: {path_text!r} is not TOML: {error}") from error
    unknown = sorted(set(values) - set(kind.model_fields))
    if unknown:
        raise ConfigurationError(f"--config: {path_text!r} has unknown names: {', '.join(unknown)}")
    return values


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        flag = "--" + ".".join(str(part) for part in problem["loc"]).replace("_", "-")
        value = problem.get("input")
        shown = "" if value is None or isinstance(value, dict) else f" (got {value!r})"
        lines.append(f"{flag}: {problem['msg']}{shown}")
    return "; ".join(lines)


def run_main(main: Any, arguments: Sequence[str] | None = None) -> int:
    """Runs `main(arguments)`; a ConfigurationError becomes one line on stderr and exit code 2."""
    try:
        return int(main(sys.argv[1:] if arguments is None else arguments) or 0)
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
