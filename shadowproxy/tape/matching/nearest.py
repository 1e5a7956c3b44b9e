"""What a request that is not on the tape comes nearest to, and in what it differs. Pure code.

In: the live request and recorded ones. Out: `Near`, for the error that its client gets. Bounded: so many candidates, so many differences, so much of a value.
"""
from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import attrs

from shadowproxy.tape.matching.jsondiff import ABSENT, Difference, differences, short
from shadowproxy.tape.matching.match import Matching, Wanted

CANDIDATES: Final = 200
DIFFERENCES: Final = 10


@attrs.frozen
class Near:
    """The recorded request in frame `n`, and where it differs. No difference: its answers are used up, or it is not its turn."""

    n: int
    differences: tuple[Difference, ...]

    def payload(self) -> dict[str, object]:
        return {"n": self.n, "differences": [{"pointer": one.pointer, **_shown("recorded", one.old), **_shown("asked", one.new)} for one in self.differences]}

    def words(self) -> str:
        """For a message on one line."""
        more = f" (and {len(self.differences) - 1} more)" if len(self.differences) > 1 else ""
        return f"the nearest is frame {self.n}, recorded -> asked: {self.differences[0]}{more}"


def nearest(asked: Wanted, candidates: Iterable[tuple[int, Wanted]], matching: Matching) -> Near | None:
    """The candidate (its frame's number, its request) with the fewest differences, the first of several; None if there is none."""
    best: Near | None = None
    value = asked.value()
    for n, recorded in islice(candidates, CANDIDATES):
        found = () if matching.equal(recorded, asked) else differences(recorded.value(), value, matching.ignoring, asked.method, DIFFERENCES)
        if best is None or len(found) < len(best.differences):
            best = Near(n, tuple(found))
        if not best.differences:
            break
    return best


def _shown(name: str, value: Any) -> dict[str, str]:
    """As JSON, shortened; nothing for what is not there."""
    return {} if value is ABSENT else {name: short(value)}
