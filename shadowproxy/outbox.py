"""The outbox of a pipe that many tasks share: whole lines in, from many tasks; batches out, to the one task that writes.

A cancelled write leaves half a line, so nobody but the writer touches the pipe. Bounded in bytes: past the bound `put` waits.
`put_nowait` never does; it is for the short lines of synchronous clean-up, of which there is at most one an exchange.
"""
from __future__ import annotations

import trio

BOUND = 8 << 20
"""Bytes waiting for a peer that does not read: a few of the largest requests."""


class Outbox:
    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._writer = trio.lowlevel.ParkingLot()
        self._waiting = trio.lowlevel.ParkingLot()
        self._turn, self._queue = trio.Lock(), 0  # of those that wait to put something
        self._closed = False

    @property
    def size(self) -> int:
        return self._size

    async def put(self, line: bytes) -> None:
        """Queue a line (its newline included) as soon as there is room; who came first is first."""
        if self._size > BOUND or self._queue:
            self._queue += 1
            try:
                async with self._turn:
                    await self.room()
            finally:
                self._queue -= 1
        self.put_nowait(line)

    async def room(self) -> None:
        """Wait while the bound is passed."""
        while self._size > BOUND and not self._closed:
            await self._waiting.park()

    async def flushed(self) -> None:
        """Wait until all that was queued has been written."""
        while self._size and not self._closed:
            await self._waiting.park()

    def put_nowait(self, line: bytes) -> None:
        if self._closed:
            return
        self._lines.append(line)
        self._size += len(line)
        if self._writer:
            self._writer.unpark()

    async def take(self) -> bytes:
        """All that is queued, as soon as there is something."""
        while not self._lines:
            await self._writer.park()
        data = self._lines[0] if len(self._lines) == 1 else b"".join(self._lines)
        self._lines.clear()
        return data

    def written(self, size: int) -> None:
        """`size` bytes of what was taken have gone."""
        self._size = max(0, self._size - size)
        if self._waiting:
            self._waiting.unpark_all()

    def close(self) -> None:
        """Nothing will be written any more: what is queued or still comes is dropped."""
        self._closed, self._size = True, 0
        self._lines.clear()
        self._waiting.unpark_all()
