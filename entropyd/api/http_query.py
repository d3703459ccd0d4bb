"""Reads the query of /api/entropy as gnosis-radio and sdr-rand do: nothing in it is ever an error.

The last usable `bytes` counts; a negative, empty or unparsable one is passed over; there is no
percent-decoding. Ours are `policy` (fallback or refuse), and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from entropyd.dispensing.draw import Policy

DEFAULT_BYTES = 32
MAX_BYTES = 4096
_UNSIGNED = re.compile(r"\+?[0-9]+", re.ASCII)


@dataclass(frozen=True)
class EntropyQuery:
    """byte_count: 0 … 4096; form: json, hex or raw."""

    byte_count: int
    form: str
    policy: Policy


def parse_query(text: str, default_policy: Policy = Policy.FALLBACK) -> EntropyQuery:
    byte_count, form, policy = DEFAULT_BYTES, "json", default_policy
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if name == "bytes" and _UNSIGNED.fullmatch(value) and len(value) < 400 and int(value) < 2**64:
            byte_count = min(int(value), MAX_BYTES)
        elif name == "format" and value in ("hex", "raw"):
            form = value
        elif name == "policy" and value in ("fallback", "refuse"):
            policy = Policy(value)
    return EntropyQuery(byte_count, form, policy)
