"""Which frame of a recorded sequence is next, in one live session. Pure code.

In: what has been played, and for a standing stream what has been seen. Out: places. An exchange is played from its beginning to its end. Of a standing
stream a group's turn comes when its cause has been seen, whatever has become of the groups before it: what a client never does holds up nothing but
what followed it. Groups whose turn has come keep the order of the tape, and one that has begun is played to its end.
"""
from __future__ import annotations

from collections.abc import Container
from heapq import heappop, heappush

from shadowproxy.tape.replaying.columns import Columns, Groups


class Course:
    """Of an exchange. `place`: of the frame that was played last."""

    def __init__(self, columns: Columns, place: int) -> None:
        self._columns = columns
        self.place = place

    def next(self) -> int:
        """0: nothing."""
        return self._columns.after[self.place]

    def played(self, place: int) -> None:
        self.place = place


class Standing(Course):
    """Of a standing stream. `seen`: what has been seen of its session; the rest is told by `saw`."""

    def __init__(self, columns: Columns, place: int, seen: Container[int]) -> None:
        super().__init__(columns, place)
        self._groups = columns.groups.get(place, Groups())
        self._due = [first for cause, first in zip(self._groups.causes, self._groups.firsts, strict=True) if cause in seen]  # a heap

    def saw(self, cause: int) -> None:
        """For the first time."""
        if first := self._groups.first(cause):
            heappush(self._due, first)

    def next(self) -> int:
        place = super().next()
        if place and not self._columns.cause[place]:
            return place  # of the group that has begun
        return self._due[0] if self._due else 0

    def played(self, place: int) -> None:
        if self._due and self._due[0] == place:
            heappop(self._due)
        super().played(place)

    def held(self, seen: Container[int]) -> list[int]:
        """The first places of the groups whose cause has not been seen."""
        return [first for cause, first in zip(self._groups.causes, self._groups.firsts, strict=True) if cause not in seen]
