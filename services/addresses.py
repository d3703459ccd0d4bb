"""HOST:PORT addresses: reading them, and telling loopback from the rest."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from services.errors import ConfigurationError


@dataclass(frozen=True)
class Address:
    """A host name or IP address with a port; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True only where no other machine can connect. Host names other than localhost count as open."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str, *, name: str = "address") -> Address:
    """Reads "HOST:PORT" or "[IPV6]:PORT". Raises ConfigurationError that names the setting and the value."""
    host, separator, port_text = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or (":" in host and "[" not in text):
        raise ConfigurationError(f"{name}: {text!r} is not HOST:PORT (for example 127.0.0.1:50051)")
    if not port_text.isdecimal() or int(port_text) > 65535:
        raise ConfigurationError(f"{name}: the port in {text!r} must be a whole number from 0 to 65535")
    return Address(host, int(port_text))
