"""Logging for the command line: records of the standard library's logger "shadowproxy", rendered by structlog, on standard error.

In: a level and a format. Out: lines on standard error, never on standard output. structlog is imported with the first line, not before:
its import would cost a fifth of the time to the first answer.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, MutableMapping
from typing import Any

from shadowproxy.cli.stderr import Stderr

log = logging.getLogger("shadowproxy")

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
Render = Callable[[Any, str, MutableMapping[str, Any]], Any]


def configure(level: str, format: str, fd: int = 2) -> None:
    """Send the proxy's log to standard error."""
    handler = _Unhurried(Stderr(fd))
    handler.setFormatter(_Lines(format, os.isatty(fd)))
    log.handlers = [handler]
    log.setLevel(level.upper())
    log.propagate = False


class _Unhurried(logging.Handler):
    """Never waits for the reader: logging happens in the event loop."""

    def __init__(self, stderr: Stderr) -> None:
        super().__init__()
        self.stderr = stderr

    def emit(self, record: logging.LogRecord) -> None:
        self.stderr.write((self.format(record) + "\n").encode(errors="backslashreplace"))


class _Lines(logging.Formatter):
    def __init__(self, format: str, colours: bool) -> None:
        super().__init__()
        self._format, self._colours = format, colours
        self._render: Render | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._render is None:
            self._render = _renderer(self._format, self._colours)
        event: dict[str, Any] = {"event": record.getMessage(), "level": record.levelname.lower(), "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")}
        event |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return str(self._render(None, "", event))


def _renderer(format: str, colours: bool) -> Render:
    import structlog

    if format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)
