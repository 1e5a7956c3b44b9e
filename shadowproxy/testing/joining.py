"""Several recordings made one tape: what a test's connections and child processes have recorded, each in a file of its own.

In: the files, and maybe a tape that they are added to. Out: that tape, whole or not at all. Frames of recordings are put in the order of their time and
numbered anew; what they point at goes with them. A test's recordings are small: their numbers are held.
"""
from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path

import msgspec

from shadowproxy.tape.exchanging.writer import write_tape
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading


def join(target: Path, recordings: Sequence[Path], onto: Path | None = None) -> None:
    """Write `target`: the frames of `onto`, if that is given, and then those of `recordings`. Raises `OSError`, `Unreadable`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        readings = [stack.enter_context(Reading(path)) for path in ([] if onto is None else [onto]) + list(recordings)]
        first = min(readings[:1] if onto is not None else readings, key=lambda reading: reading.header.origin)
        renumbered = _Numbers()
        shifted = [_shifted(reading, number, reading.header.origin - first.header.origin) for number, reading in enumerate(readings)]
        old = shifted[:1] if onto is not None else []
        frames = chain(*old, heapq.merge(*shifted[len(old) :], key=lambda item: item[1].t))
        write_tape(target, msgspec.structs.replace(first.header, session=None), (renumbered.of(number, frame) for number, frame in frames))


def _shifted(reading: Reading, number: int, later: float) -> Iterator[tuple[int, Frame]]:
    for frame in reading:
        yield number, msgspec.structs.replace(frame, t=round(frame.t + later, 6))


class _Numbers:
    """New numbers for old ones, by the file that those are from."""

    def __init__(self) -> None:
        self._n, self._exchange, self._session = count(1), count(1), count(1)
        self._known: dict[tuple[str, int, int | str], int] = {}

    def of(self, file: int, frame: Frame) -> Frame:
        n = self._known["frame", file, frame.n] = next(self._n)
        exchange = None if frame.exchange is None else self._new("exchange", self._exchange, file, frame.exchange)
        session = None if frame.session is None else f"s{self._new('session', self._session, file, frame.session)}"
        stream = frame.stream if exchange is None or not frame.stream else f"{frame.stream[0]}{exchange}"
        re = None if frame.re is None else self._known.get(("frame", file, frame.re))
        return msgspec.structs.replace(frame, n=n, exchange=exchange, session=session, stream=stream, re=re)

    def _new(self, kind: str, counter: Iterator[int], file: int, old: int | str) -> int:
        if (kind, file, old) not in self._known:
            self._known[kind, file, old] = next(counter)
        return self._known[kind, file, old]
