"""Structured logs: one JSON object a line on stderr, with the ids of the request and experiment at hand."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import TextIO

from services.errors import ConfigurationError

trace_id: ContextVar[str] = ContextVar("trace_id", default="")
experiment_id: ContextVar[str] = ContextVar("experiment_id", default="")

_PLAIN_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "taskName",
}


class JsonFormatter(logging.Formatter):
    """A record as one line: time (UTC, ISO 8601), level, service, logger, message, ids and extras."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id.get():
            entry["trace_id"] = trace_id.get()
        if experiment_id.get():
            entry["experiment_id"] = experiment_id.get()
        entry |= {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def configure_logs(service: str, level: str, stream: TextIO | None = None) -> None:
    """Sends every logger to stderr (or `stream`) as JSON. Call once, in the composition root.

    Raises ConfigurationError for an unknown level.
    """
    if level.lower() not in ("debug", "info", "warning", "error"):
        raise ConfigurationError(f"--log-level: {level!r} is not one of debug, info, warning, error")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
