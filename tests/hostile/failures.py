"""What the proxy itself calls a bug of its own: errors on its log, kept for a test to look at."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def failures() -> Iterator[list[logging.LogRecord]]:
    """The errors that are logged while the block is open."""
    handler, log = _Failures(), logging.getLogger("shadowproxy")
    log.addHandler(handler)
    try:
        yield handler.records
    finally:
        log.removeHandler(handler)
