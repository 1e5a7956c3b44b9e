"""The levels of log lines (RFC 5424), of which a client names the least that it wants.

In: levels as they came. Out: their rank, and whether one who asked for a level is to get a line. Pure.
"""
from __future__ import annotations

from typing import Any, Final

from shadowproxy.wire.jsonrpc import text_of

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def rank_of(level: str | None) -> int | None:
    """None for what is no level."""
    return LEVELS.index(level) if level in LEVELS else None


def admits(asked: Any, line: Any) -> bool:
    """Whether who asked for `asked` is to get a line of level `line`, both raw; where one of them is no level, nothing speaks against it."""
    least, level = rank_of(text_of(asked)), rank_of(text_of(line))
    return least is None or level is None or least <= level
