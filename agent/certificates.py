"""A private CA with one certificate a daemon and one for clients, and a bearer token."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from services.errors import ConfigurationError, FailedPreconditionError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

DAEMONS = ("entropyd", "memoryd", "trainerd", "agentd")
CLIENT = "client"
CA_DAYS = 3650


def make_certificates(
    folder: Path, names: Sequence[str], *, days: int, now: datetime.datetime, renew: bool = False
) -> list[Path]:
    """Writes ca.pem, ca.key, NAME.pem and NAME.key for each daemon and the client, and token.

    `names` are host names and IP addresses that the daemons are reached by, beside localhost and the
    daemon's own name (its name in compose). An existing CA and token are kept; certificates are replaced
    only with `renew`. Keys and token are readable by their owner alone. Raises FailedPreconditionError when
    certificates exist and `renew` is not given, ConfigurationError when cryptography is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise ConfigurationError(
            "certificates need the package cryptography: install autoresearch-stack[entropyd]"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    existing = [name for name in (*DAEMONS, CLIENT) if (folder / f"{name}.pem").exists()]
    if existing and not renew:
        raise FailedPreconditionError(
            f"{folder} holds certificates already ({', '.join(existing)}); give --renew to replace them"
        )
    ca_key, ca = _authority(folder, now)
    written = [folder / "ca.pem"]
    for name in (*DAEMONS, CLIENT):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _issue(ca, ca_key, key, name, () if name == CLIENT else names, days, now)
        _write_private(folder / f"{name}.key", _key_pem(key))
        _write_public(folder / f"{name}.pem", _pem(certificate))
        written += [folder / f"{name}.pem", folder / f"{name}.key"]
    token = folder / "token"
    if not token.exists():
        _write_private(token, secrets.token_hex(32).encode() + b"\n")
    return [*written, token]


def _authority(folder: Path, now: datetime.datetime) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key_path, path = folder / "ca.key", folder / "ca.pem"
    if key_path.exists() and path.exists():
        try:
            loaded = serialization.load_pem_private_key(key_path.read_bytes(), None)
            authority = x509.load_pem_x509_certificate(path.read_bytes())
        except (ValueError, TypeError) as error:
            raise FailedPreconditionError(
                f"{path} and {key_path} cannot be read ({error}): restore them, or name another folder"
            ) from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise FailedPreconditionError(
                f"{key_path} is not a key made by `autoresearch certs`: name another folder"
            )
        return loaded, authority
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "autoresearch private CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    _write_private(key_path, _key_pem(key))
    _write_public(path, _pem(certificate))
    return key, certificate


def _issue(
    ca: x509.Certificate,
    ca_key: EllipticCurvePrivateKey,
    key: EllipticCurvePrivateKey,
    name: str,
    hosts: Sequence[str],
    days: int,
    now: datetime.datetime,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if name == CLIENT else ExtendedKeyUsageOID.SERVER_AUTH
    alternatives = [
        _general_name(host) for host in dict.fromkeys((name, "localhost", "127.0.0.1", "::1", *hosts))
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(min(now + datetime.timedelta(days=days), ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # an old file may have been readable by others
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _write_public(path: Path, data: bytes) -> None:
    path.write_bytes(data)
