from __future__ import annotations

import pytest

from services.addresses import Address, parse_address
from services.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:9", "::1", 9, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),
        ("[::]:1", "::", 1, False),
        ("radio.lan:50051", "radio.lan", 50051, False),
        ("192.168.86.24:9090", "192.168.86.24", 9090, False),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text)
    assert (address, address.is_loopback) == (Address(host, port), loopback)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "radio", ":1", "radio:", "radio:x", "radio:65536", "radio:-1", "::1:5", "a:1.5"]
)
def test_what_is_not_an_address_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--listen"):
        parse_address(text, name="--listen")
