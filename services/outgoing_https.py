"""Calling https servers: whose certificates are believed, which is shown, and what a failure means."""

from __future__ import annotations

import ssl
from pathlib import Path

from services.errors import ConfigurationError
from services.security import load_pair, load_roots

HttpsTrust = ssl.SSLContext | bool  # what aiohttp takes as `ssl`
SYSTEM_TRUST: HttpsTrust = True  # the authorities that the machine knows
_UNKNOWN_AUTHORITY = frozenset({2, 7, 18, 19, 20, 21})  # X509_V_ERR_… of OpenSSL
_ANOTHER_HOST = frozenset({62, 64})


def https_trust(ca: Path | None, cert: Path | None = None, key: Path | None = None) -> HttpsTrust:
    """The machine's authorities and those of `ca`; `cert` and `key` are shown to a server that asks.

    Raises ConfigurationError for files that are no use.
    """
    if (cert is None) != (key is None):
        raise ConfigurationError("--https-cert and --https-key belong together: give both or neither")
    if ca is None and cert is None:
        return SYSTEM_TRUST
    context = ssl.create_default_context()
    if ca is not None:
        load_roots(context, ca, "--https-ca")
    if cert is not None and key is not None:
        load_pair(context, cert, key, "--https-cert", "--https-key")
    return context


def explain_https(error: BaseException, url: str) -> str | None:
    """What is wrong between the two sides' certificates, and the way out; None for any other failure."""
    import aiohttp

    if not url.startswith("https:"):
        return None
    if isinstance(error, aiohttp.ServerDisconnectedError):  # the alert that says so is lost on the way
        return "it hangs up; if it asks for a client certificate, give --https-cert and --https-key"
    cause: BaseException | None = error
    while isinstance(cause, aiohttp.ClientError):
        cause = getattr(cause, "certificate_error", None) or cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = cause.verify_message
        if cause.verify_code in _UNKNOWN_AUTHORITY:
            return (
                f"its certificate comes from an authority that is not known here ({what}); give that "
                "authority's PEM file as --https-ca"
            )
        if cause.verify_code in _ANOTHER_HOST:
            return f"its certificate is for another host ({what}); call it by a name in the certificate"
        return f"its certificate is refused: {what}"
    return f"TLS failed: {cause.reason or cause}" if isinstance(cause, ssl.SSLError) else None
