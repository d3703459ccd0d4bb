"""Settings of memoryd: ferricula's own environment names beside ours."""

from __future__ import annotations

import pytest

from memoryd.settings import MemorydSettings, with_ferricula_ports
from services.errors import ConfigurationError
from services.settings import load_settings


def load(*flags: str, **environment: str) -> MemorydSettings:
    settings = load_settings(MemorydSettings, flags, environment=environment)
    return with_ferricula_ports(settings, environment)


def test_ports_of_ferricula_are_honoured_unless_an_address_is_given() -> None:
    assert load().http_listen == "127.0.0.1:8765"
    found = load(PORT="9000", MCP_PORT="9001")
    assert (found.http_listen, found.mcp_listen) == ("127.0.0.1:9000", "127.0.0.1:9001")
    assert load("--http-listen=127.0.0.1:5", PORT="9000").http_listen == "127.0.0.1:5"


@pytest.mark.parametrize("port", ["abc", "70000", "-1"])
def test_a_port_that_is_none_is_named(port: str) -> None:
    with pytest.raises(ConfigurationError, match="PORT"):
        load(PORT=port)


@pytest.mark.parametrize(
    ("flags", "environment", "named"),
    [
        (("--resonance=loud",), {}, "--resonance"),
        (("--mcp-surface=none",), {}, "--mcp-surface"),
        (("--dream-threshold-bytes=2000",), {}, "--dream-threshold-bytes"),
        (("--edge-anchor-count=-1",), {}, "--edge-anchor-count"),
        (("--clock-tick-seconds=nan",), {}, "--clock-tick-seconds"),
        ((), {"AUTORESEARCH_MEMORYD_BACKENT": "x"}, "AUTORESEARCH_MEMORYD_BACKENT"),
    ],
)
def test_a_wrong_value_names_its_setting(
    flags: tuple[str, ...], environment: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(*flags, **environment)
