from __future__ import annotations

import io
import json
import logging

import pytest

from services import logs
from services.errors import ConfigurationError


@pytest.fixture
def stream() -> io.StringIO:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure_logs("probed", "info", out)
    yield out
    root.handlers[:], root.level = handlers, level


def test_a_record_is_one_json_line_with_ids_and_extras(stream: io.StringIO) -> None:
    logs.trace_id.set("t-1")
    logs.experiment_id.set("e-1")
    logging.getLogger("x").info("kept %s", "it", extra={"val_bpb": 1.5})
    logs.trace_id.set("")
    logs.experiment_id.set("")
    entry = json.loads(stream.getvalue())
    expected = {"service": "probed", "level": "info", "message": "kept it", "val_bpb": 1.5}
    assert expected.items() <= entry.items()
    assert (entry["trace_id"], entry["experiment_id"]) == ("t-1", "e-1")


def test_newlines_in_a_message_cannot_forge_a_second_record(stream: io.StringIO) -> None:
    logging.getLogger("x").warning('a\n{"level": "info"}')
    assert len(stream.getvalue().splitlines()) == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--log-level: 'loud'"):
        logs.configure_logs("probed", "loud", io.StringIO())
