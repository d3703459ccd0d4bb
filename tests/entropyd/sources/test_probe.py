"""`entropyd probe` names what is wrong in one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entropyd.sources.auto_source import is_plugged_in
from entropyd.sources.probe import main as probe
from tests.entropyd.conftest import FakeDongle


def make_bus(folder: Path, vendor: str, product: str) -> Path:
    device = folder / "bus" / "1-1"
    device.mkdir(parents=True)
    (device / "idVendor").write_text(vendor + "\n")
    (device / "idProduct").write_text(product + "\n")
    (folder / "bus" / "usb1").mkdir()  # a hub without ids
    return folder / "bus"


def test_the_bus_tells_of_dongles_only(tmp_path: Path) -> None:
    assert is_plugged_in(make_bus(tmp_path / "a", "0BDA", "2838")) is True
    assert is_plugged_in(make_bus(tmp_path / "b", "0bda", "8153")) is False
    assert is_plugged_in(tmp_path / "nowhere") is None  # a system that does not list them


@pytest.mark.parametrize(
    ("mode", "code", "what", "cause"),
    [
        ("ok", 0, "open", ""),
        ("absent", 1, "devices", "no-device"),
        ("busy", 1, "open", "busy"),
        ("denied", 1, "open", "no-permission"),
    ],
)
def test_findings(
    dongle: FakeDongle, capsys: pytest.CaptureFixture[str], mode: str, code: int, what: str, cause: str
) -> None:
    pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
    dongle.set(mode)
    arguments = ["--rtlsdr-library", str(dongle.library.parent), "--usb-devices", "/nowhere"]
    assert probe([*arguments, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["usable"] is (code == 0)
    last = told["findings"][-1]
    assert (last["what"], last["cause"]) == (what, cause)
    assert "\n" not in last["text"]


def test_a_remote_receiver_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(["--source", "rtl_tcp://127.0.0.1:9"]) == 1
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith("open: FAULT (refused): rtl_tcp://127.0.0.1:9 cannot be reached")
