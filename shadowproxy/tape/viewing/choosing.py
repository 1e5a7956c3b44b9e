"""Part of a tape that is a tape again: the frames that a filter chooses, with all of their exchanges.

In: a filter, and the frames twice: what belongs to an exchange is only known when all of it was seen. Out: frames. Held: a bit for each number that was chosen.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.viewing.rows import Era, Row, rows


class Numbers:
    """A set of numbers of which most are near one another: a bit each, however many."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}

    def add(self, number: int) -> None:
        self._bits[number >> 12] = self._bits.get(number >> 12, 0) | 1 << (number & 4095)

    def __contains__(self, number: int) -> bool:
        return bool(self._bits.get(number >> 12, 0) >> (number & 4095) & 1)

    def __bool__(self) -> bool:
        return bool(self._bits)


class Choice:
    """`look` at all frames, then `frames` gives those that were chosen. `era`: the header's. Not `whole`: only the frames that the filter itself is true of."""

    def __init__(self, chosen: Callable[[Row], bool], era: Era | None = None, *, whole: bool = True) -> None:
        self._chosen, self._era, self._whole = chosen, era, whole
        self._exchanges = Numbers()
        self._numbers = Numbers()

    def look(self, frames: Iterable[Frame]) -> bool:
        """The first pass; whether anything was chosen."""
        for row in rows(frames, self._era):
            if self._chosen(row):
                if self._whole and row.frame.exchange is not None:
                    self._exchanges.add(row.frame.exchange)
                else:
                    self._numbers.add(row.frame.n)
        return bool(self._exchanges or self._numbers)

    def frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The second pass. With whole exchanges come the client's answers to the server's requests in them, and what was learned of the server."""
        asked = Numbers()
        for frame in frames:
            wanted = frame.n in self._numbers or (frame.exchange is not None and frame.exchange in self._exchanges)
            if not wanted and self._whole:
                wanted = frame.kind == "about" or (frame.exchange is None and frame.re is not None and frame.re in asked)
            if wanted:
                if frame.kind == "request" and frame.dir == "s2c":
                    asked.add(frame.n)
                yield frame
