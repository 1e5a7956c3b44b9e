"""How long a replayed answer takes. Pure code.

In: the setting `timing` (none, recorded, scale:FACTOR, cap:SECONDS) and what lay between two frames on the tape. Out: seconds to wait.
"""
from __future__ import annotations

import attrs


@attrs.frozen
class Pace:
    """A pause is multiplied by `scale` and cut to `cap`."""

    scale: float = 0.0
    cap: float = float("inf")

    @classmethod
    def of(cls, timing: str) -> Pace:
        """As the setting says it; config/syntax.py has looked at it already."""
        kind, _, number = timing.partition(":")
        if kind == "none":
            return cls()
        return cls(float(number) if kind == "scale" else 1.0, float(number) if kind == "cap" else float("inf"))

    def gap(self, recorded: float) -> float:
        """What becomes of a pause. Frames of several streams may stand on a tape out of order: none is negative."""
        return min(recorded * self.scale, self.cap) if recorded > 0 else 0.0
