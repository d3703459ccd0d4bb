"""Five kinds of bad credential, and none of them gets through to the servicer."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.entropy_client import EntropyClient
from services.errors import ConfigurationError, UnauthenticatedError, UnavailableError
from services.memory_client import MemoryClient
from services.security import ClientSecurity, ServerSecurity
from tests.services.probe import Probe, serve_probe

TOKEN = "0123456789abcdef0123456789abcdef"


class Authority:
    """A private CA that writes PEM files into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign("ca", self.name, self.key, days=10, is_authority=True)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, *, days: int = 10) -> tuple[Path, Path]:
        """Certificate and key for localhost; `days` below 0: expired so long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._sign(name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, days=days)
        path = self.folder / f"{name}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return self.folder / f"{name}.pem", path

    def _sign(
        self,
        name: str,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=30))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        (self.folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return made


@pytest.mark.parametrize(
    "kind", ["good", "no token", "wrong token", "expired certificate", "other authority", "plain text"]
)
async def test_only_a_good_credential_reaches_the_servicer(kind: str, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    cert, key = ours.issue("client")
    given = {
        "good": ClientSecurity(TOKEN, ours.ca, cert, key),
        "no token": ClientSecurity(None, ours.ca, cert, key),
        "wrong token": ClientSecurity(TOKEN[::-1], ours.ca, cert, key),
        "expired certificate": ClientSecurity(TOKEN, ours.ca, *ours.issue("late", days=-1)),
        "other authority": ClientSecurity(TOKEN, ours.ca, *theirs.issue("client")),
        "plain text": ClientSecurity(TOKEN),
    }[kind]
    probe = Probe()
    security = ServerSecurity(TOKEN, *ours.issue("server"), ours.ca)
    async with serve_probe(probe, security=security, drain_seconds=0.1) as server:
        target = f"localhost:{server.address.port}"
        if kind in ("good", "no token", "wrong token"):
            async with EntropyClient(target, security=given, timeout=3.0) as client:
                if kind == "good":
                    assert (await client.draw(1, purpose="")).entropy == b"x"
                    return
                with pytest.raises(UnauthenticatedError):
                    await client.draw(1, purpose="")
        else:
            await refused_before_any_call(target, given)
    assert probe.calls == 0


async def refused_before_any_call(target: str, given: ClientSecurity) -> None:
    """By a call that is not repeated, and that the server would answer as one that it does not have."""
    async with MemoryClient(target, security=given, timeout=3.0) as client:
        with pytest.raises(UnavailableError):
            await client.dream()


async def test_a_server_with_an_expired_certificate_is_not_believed(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    probe = Probe()
    security = ServerSecurity(TOKEN, *ours.issue("server", days=-1), ours.ca)
    async with serve_probe(probe, security=security, drain_seconds=0.1) as server:
        given = ClientSecurity(TOKEN, ours.ca, *ours.issue("client"))
        await refused_before_any_call(f"localhost:{server.address.port}", given)
    assert probe.calls == 0


@pytest.mark.parametrize("fault", ["no PEM", "key of another", "locked key", "no CA"])
def test_files_that_are_no_use_are_named_before_anything_is_served(fault: str, tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    (cert, key), client_ca = ours.issue("server"), ours.ca
    flag, file = "--tls-cert, --tls-key", key
    if fault == "no PEM":
        cert.write_text("certificate")
    elif fault == "key of another":
        key = ours.issue("other")[1]
    elif fault == "locked key":
        locked = serialization.BestAvailableEncryption(b"password")
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key.write_bytes(ours.key.private_bytes(pem, form, locked))
    else:
        client_ca.write_text("authority")
        flag, file = "--tls-client-ca", client_ca
    security = ServerSecurity(TOKEN, cert, key, client_ca)
    for take in (security.grpc_credentials, security.ssl_context):
        with pytest.raises(ConfigurationError, match=f"{flag}: .*`autoresearch certs`"):
            take()
    client = ClientSecurity(TOKEN, client_ca, cert, key)
    with pytest.raises(ConfigurationError, match=str(file) if fault == "no CA" else str(key)):
        client.grpc_credentials()
