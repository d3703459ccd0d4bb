"""Every kind of query: none is an error, and each means what it means to gnosis-radio."""

from __future__ import annotations

import pytest

from entropyd.api.http_query import parse_query
from entropyd.dispensing.draw import Policy


@pytest.mark.parametrize(
    ("query", "byte_count", "form"),
    [
        ("", 32, "json"),
        ("bytes=8", 8, "json"),
        ("bytes=0", 0, "json"),
        ("bytes=1", 1, "json"),
        ("bytes=4095", 4095, "json"),
        ("bytes=4096", 4096, "json"),
        ("bytes=4097", 4096, "json"),
        ("bytes=99999", 4096, "json"),
        ("bytes=18446744073709551615", 4096, "json"),
        ("bytes=18446744073709551616", 32, "json"),
        ("bytes=" + "9" * 5000, 32, "json"),
        ("bytes=-1", 32, "json"),
        ("bytes=-0", 32, "json"),
        ("bytes=+8", 8, "json"),
        ("bytes=++8", 32, "json"),
        ("bytes=", 32, "json"),
        ("bytes", 32, "json"),
        ("bytes=abc", 32, "json"),
        ("bytes=8.5", 32, "json"),
        ("bytes=1e3", 32, "json"),
        ("bytes=0x10", 32, "json"),
        ("bytes= 8", 32, "json"),
        ("bytes=%38", 32, "json"),
        ("bytes=٨", 32, "json"),
        ("bytes=008", 8, "json"),
        ("Bytes=8", 32, "json"),
        ("bytes=8&bytes=16", 16, "json"),
        ("bytes=8&bytes=x", 8, "json"),
        ("bytes=8=9", 32, "json"),
        ("bytes=8&format=hex", 8, "hex"),
        ("format=raw", 32, "raw"),
        ("format=json", 32, "json"),
        ("format=JSON", 32, "json"),
        ("format=HEX", 32, "json"),
        ("format=hex&format=raw", 32, "raw"),
        ("format=hex&format=xml", 32, "hex"),
        ("format=%68ex", 32, "json"),
        ("&&&bytes=8&&&", 8, "json"),
        ("unknown=1&bytes=8&other", 8, "json"),
        ("bytes=8?format=hex", 32, "json"),
    ],
)
def test_queries(query: str, byte_count: int, form: str) -> None:
    parsed = parse_query(query)
    assert (parsed.byte_count, parsed.form, parsed.policy) == (byte_count, form, Policy.FALLBACK)


def test_policy_is_ours_and_never_an_error_either() -> None:
    assert parse_query("policy=refuse").policy is Policy.REFUSE
    assert parse_query("policy=REFUSE").policy is Policy.FALLBACK
    assert parse_query("", Policy.REFUSE).policy is Policy.REFUSE
    assert parse_query("policy=fallback", Policy.REFUSE).policy is Policy.FALLBACK
