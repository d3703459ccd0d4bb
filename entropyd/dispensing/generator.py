"""HMAC_DRBG with SHA-512 after NIST SP 800-90A Rev. 1 section 10.1.2, and the pool that lives on it."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

OUTPUT_BYTES = hashlib.sha512().digest_size
MAX_REQUEST_BYTES = 65_536  # 2^19 bits, the limit of one request in table 2
SECURITY_STRENGTH_BITS = 256


class HmacDrbg:
    """The deterministic generator; the same inputs give the same outputs. Not aware of processes.

    `reseed` and `generate` follow the standard's pseudocode, so that its published vectors apply.
    """

    def __init__(self, entropy: bytes, nonce: bytes = b"", personalization: bytes = b"") -> None:
        self._key = bytes(OUTPUT_BYTES)
        self._value = b"\x01" * OUTPUT_BYTES
        self._update(entropy + nonce + personalization)

    def reseed(self, entropy: bytes, additional: bytes = b"") -> None:
        self._update(entropy + additional)

    def generate(self, byte_count: int, additional: bytes = b"") -> bytes:
        """Up to 65,536 bytes. Raises ValueError beyond: the standard allows no more in one request."""
        if byte_count > MAX_REQUEST_BYTES:
            raise ValueError(f"{byte_count} bytes in one request; at most {MAX_REQUEST_BYTES}")
        if additional:
            self._update(additional)
        output = bytearray()
        while len(output) < byte_count:
            self._value = hmac.digest(self._key, self._value, "sha512")
            output += self._value
        self._update(additional)
        return bytes(output[:byte_count])

    def _update(self, provided: bytes) -> None:
        self._key = hmac.digest(self._key, self._value + b"\x00" + provided, "sha512")
        self._value = hmac.digest(self._key, self._value, "sha512")
        if provided:
            self._key = hmac.digest(self._key, self._value + b"\x01" + provided, "sha512")
            self._value = hmac.digest(self._key, self._value, "sha512")


class Generator:
    """An unbounded supply: HMAC_DRBG that takes fresh operating-system bytes into every single request,
    so a copied, forked or restored process never repeats output and is never worse than the system.

    `generation` counts reseeds. `radio_bits` is the credited radio entropy of the present seed; it is
    what allows the label `radio`, and `forget_radio` takes it away.
    """

    def __init__(self, os_random: Callable[[int], bytes] = os.urandom) -> None:
        self._os_random = os_random
        self._drbg = HmacDrbg(os_random(64), os_random(32), b"autoresearch entropyd v1")
        self.generation = 0
        self.radio_bits = 0.0
        self.bytes_since_reseed = 0

    def reseed(self, material: bytes, credited_bits: float) -> None:
        """Mixes `material` and 64 bytes of the operating system into the state."""
        self._drbg.reseed(material + self._os_random(64))
        self.generation += 1
        self.radio_bits = credited_bits
        self.bytes_since_reseed = 0

    def mix(self, material: bytes) -> None:
        """Adds bytes without a claim; they can only help."""
        self._drbg.reseed(material, self._os_random(32))

    def forget_radio(self) -> None:
        """Reseeds from the operating system alone; later output is not called radio."""
        self.reseed(b"", 0.0)

    def generate(self, byte_count: int) -> bytes:
        parts = []
        for start in range(0, byte_count, MAX_REQUEST_BYTES):
            size = min(MAX_REQUEST_BYTES, byte_count - start)
            parts.append(self._drbg.generate(size, self._os_random(32)))
        self.bytes_since_reseed += byte_count
        return b"".join(parts)
