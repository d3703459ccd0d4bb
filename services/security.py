"""Credentials: what a server demands, what a client sends, and the rule for listening beyond loopback."""

from __future__ import annotations

import hmac
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.addresses import Address
from services.errors import ConfigurationError

# Values that stand in examples and documents. A daemon that is given one refuses to start.
EXAMPLE_TOKENS = frozenset(
    {"change-me", "changeme", "example", "secret", "token", "password", "your-token-here"}
)
MINIMUM_TOKEN_LENGTH = 16
NEW_TOKEN = "make one with `openssl rand -hex 32`"
NEW_PAIR = "`autoresearch certs` makes what is needed"


@dataclass(frozen=True)
class ServerSecurity:
    """What callers must show. Nothing at all is allowed on loopback only."""

    token: str | None = None
    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ConfigurationError("--tls-cert and --tls-key belong together: give both or neither")
        if self.client_ca is not None and self.cert is None:
            raise ConfigurationError("--tls-client-ca needs --tls-cert and --tls-key as well")
        if self.token is not None and self.token.lower() in EXAMPLE_TOKENS:
            raise ConfigurationError(f"the token is the example value: {NEW_TOKEN}")
        if self.token is not None and len(self.token) < MINIMUM_TOKEN_LENGTH:
            raise ConfigurationError(
                f"the token is shorter than {MINIMUM_TOKEN_LENGTH} characters: {NEW_TOKEN}"
            )

    def accepts(self, authorization: str | None) -> bool:
        """Whether an Authorization value carries the token; True where none is demanded."""
        if self.token is None:
            return True
        expected = f"Bearer {self.token}"
        # Bytes that are no UTF-8 come as lone surrogates.
        return hmac.compare_digest(
            expected.encode(), (authorization or "").encode("utf-8", "surrogateescape")
        )

    def grpc_credentials(self) -> grpc.ServerCredentials | None:
        """TLS credentials, or None for plain text. Raises ConfigurationError for files that are no use."""
        if self.cert is None or self.key is None:
            return None
        self.ssl_context()  # gRPC itself would only say that it cannot bind
        pair = (read_bytes(self.key, "--tls-key"), read_bytes(self.cert, "--tls-cert"))
        if self.client_ca is None:
            return grpc.ssl_server_credentials([pair])
        roots = read_bytes(self.client_ca, "--tls-client-ca")
        return grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=True)

    def ssl_context(self) -> ssl.SSLContext | None:
        """The same for an HTTP server."""
        if self.cert is None or self.key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        load_pair(context, self.cert, self.key, "--tls-cert", "--tls-key")
        if self.client_ca is not None:
            load_roots(context, self.client_ca, "--tls-client-ca")
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True)
class ClientSecurity:
    """What a client sends: a token, and TLS when `ca` is given (mutual with `cert` and `key`)."""

    token: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def grpc_credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials, or None for plain text. Raises ConfigurationError for files that are no use."""
        if self.ca is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only to hear what is wrong: gRPC would not say
        load_roots(context, self.ca, "ca")
        if self.cert is not None and self.key is not None:
            load_pair(context, self.cert, self.key, "cert", "key")
        return grpc.ssl_channel_credentials(
            root_certificates=read_bytes(self.ca, "ca"),
            private_key=read_bytes(self.key, "key") if self.key else None,
            certificate_chain=read_bytes(self.cert, "cert") if self.cert else None,
        )


def refuse_open_listen(
    address: Address,
    security: ServerSecurity,
    *,
    flag: str,
    way_out: str = "--token-file or --tls-client-ca",
) -> None:
    """Raises ConfigurationError when an address beyond loopback would be served without credentials."""
    if address.is_loopback or security.token is not None or security.client_ca is not None:
        return
    raise ConfigurationError(
        f"{flag}: {address} can be reached from other machines; give {way_out}, or listen on 127.0.0.1"
    )


def read_secret(path: Path | None, name: str) -> str | None:
    """The stripped text of a secret file; None for no path. Raises ConfigurationError."""
    if path is None:
        return None
    text = read_bytes(path, name).decode("utf-8", "replace").strip()
    if not text:
        raise ConfigurationError(f"{name}: {path} is empty: write the token of that daemon into it")
    return text


def read_bytes(path: Path, name: str) -> bytes:
    """The bytes of a credential file. Raises ConfigurationError that names the setting."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {path}: {error.strerror}") from error


def load_pair(context: ssl.SSLContext, cert: Path, key: Path, cert_name: str, key_name: str) -> None:
    """Raises ConfigurationError that names the settings."""
    read_bytes(cert, cert_name)
    read_bytes(key, key_name)
    try:
        # Without a password a locked key would be asked for at a terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{cert_name}, {key_name}: {cert} and {key} are not a certificate and its unlocked key in PEM "
            f"form ({error.reason or error}); {NEW_PAIR}"
        ) from error


def load_roots(context: ssl.SSLContext, path: Path, name: str) -> None:
    """Raises ConfigurationError that names the setting."""
    read_bytes(path, name)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{name}: {path} holds no certificate in PEM form; {NEW_PAIR}") from error
