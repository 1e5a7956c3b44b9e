"""What is on a tape in numbers: counts, and how long things took.

In: rows, one after the other. Out: a `Statistics`, whose memory does not grow with the tape: durations are counted in classes 5 % apart, and past
1000 names the rest are one.
"""
from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

from shadowproxy.tape.viewing.rows import Row

NAMES: Final = 1000
OTHERS: Final = "(others)"
_STEP: Final = math.log(1.05)
_LEAST: Final = 1e-6


class Durations:
    """Of one method: how many, how many in error, quantiles to 2.5 %."""

    def __init__(self) -> None:
        self.count = self.errors = 0
        self.longest = 0.0
        self._classes: Counter[int] = Counter()

    def add(self, duration: float | None, error: bool) -> None:
        self.count += 1
        self.errors += error
        if duration is not None:
            self.longest = max(self.longest, duration)
            self._classes[round(math.log(max(duration, _LEAST)) / _STEP)] += 1

    def quantile(self, share: float) -> float | None:
        """The duration that this share of them does not exceed; None if none was measured."""
        rest = share * self._classes.total()
        for number in sorted(self._classes):
            rest -= self._classes[number]
            if rest <= 0:
                return min(math.exp(number * _STEP), self.longest)
        return None

    def told(self) -> dict[str, Any]:
        return {"count": self.count, "errors": self.errors, "p50": self.quantile(0.5), "p95": self.quantile(0.95), "max": self.longest if self._classes else None}


class Statistics:
    """`add` each row, then look."""

    def __init__(self) -> None:
        self.frames = self.lost = self.bytes = 0
        self.seconds = 0.0
        self.kinds: Counter[str] = Counter()
        self.redacted: Counter[str] = Counter()
        self.sessions: set[str] = set()
        self.methods: dict[str, Durations] = {}
        self.tools: dict[str, Durations] = {}

    def add(self, row: Row) -> None:
        frame = row.frame
        self.frames += 1
        self.seconds = max(self.seconds, frame.t)
        self.kinds[frame.kind] += 1
        self.lost += frame.lost or 0
        self.bytes += 0 if frame.message is None else len(bytes(frame.message))
        for rule in frame.redacted:
            self.redacted[rule] += 1
        if frame.session is not None and len(self.sessions) < NAMES:
            self.sessions.add(frame.session)
        if frame.kind in ("response", "refusal", "cancelled") and row.method is not None:
            _of(self.methods, row.method).add(row.duration, bool(row.error))
            if row.tool is not None and row.method == "tools/call":
                _of(self.tools, row.tool).add(row.duration, bool(row.error))

    def told(self) -> dict[str, Any]:
        """As JSON would have it."""
        return {
            "frames": self.frames, "seconds": round(self.seconds, 6), "message_bytes": self.bytes, "lost": self.lost, "sessions": len(self.sessions),
            "kinds": dict(self.kinds), "redacted": dict(self.redacted),
            "methods": {name: found.told() for name, found in self.methods.items()}, "tools": {name: found.told() for name, found in self.tools.items()},
        }  # fmt: skip


def _of(table: dict[str, Durations], name: str) -> Durations:
    if name not in table and len(table) >= NAMES:
        name = OTHERS
    return table.setdefault(name, Durations())
