"""The recorder: an interceptor for each side of the onion, the backlog of what they see, and the one task that writes it.

In: exchanges, by `side.py`. Out: lines for the `Writer`, in a thread, many at once. The traffic never waits for that: what finds no room is dropped, counted and marked
as a gap (`backlog.py`); with `durability` "complete" the exchange waits instead. `run` is a service of whoever opened the recorder; leaving it writes
what waits, wherever it was cancelled.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import trio

from shadowproxy.exchange import Interceptor
from shadowproxy.tape.frame import Frame, Leg
from shadowproxy.tape.recording.backlog import SLICE, Backlog
from shadowproxy.tape.recording.envelopes import Redacts
from shadowproxy.tape.recording.lines import Lines, gap, lines_of
from shadowproxy.tape.recording.side import Side
from shadowproxy.tape.recording.track import Track

log = logging.getLogger("shadowproxy")

LINGER = 0.05
"""Seconds that lines are gathered, unless there are many: one thread hop for all of them (design: persistence batches of 50 or 100 ms)."""
RETRY = 1.0
"""Seconds until a write that failed is tried again, where nothing may be lost."""
TELL = 10.0
"""Seconds between two lines in the log about frames that were dropped."""

Batches: TypeAlias = dict[Track, list[Lines]]


class Writer(Protocol):
    """Where frames go; called from a thread, one call at a time."""

    def write(self, track: Track, data: bytes) -> None:
        """Append these lines. Raises `OSError`, with nothing appended that a reader would take for whole."""
        ...

    def close(self) -> None: ...


class Recorder:
    """`per_session`: a track for each legacy session, and one for what has none. `buffer`: bytes that may wait for the writer, those being written included.
    `origin`: the Unix time of now, if that is not the system's. `thread` runs what blocks."""

    def __init__(self, writer: Writer, redactor: Redacts | None, *, per_session: bool = False, buffer: int = 8 << 20,
                 durability: Literal["lossy", "complete"] = "lossy", origin: float | None = None,
                 thread: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync) -> None:  # fmt: skip
        self._writer, self._thread, self._complete = writer, thread, durability == "complete"
        self._some, self._much, self._room = trio.Event(), trio.Event(), trio.Event()
        self.origin = time.time() if origin is None else origin
        self.backlog = Backlog(redactor, trio.lowlevel.current_clock().current_time, self._rung, origin=self.origin, per_session=per_session,
                               buffer=buffer, complete=self._complete)  # fmt: skip
        self._ready: Batches = {}
        self._missing: dict[Track, Frame] = {}  # the gap that goes before what is written next
        self._failing = False
        self._told, self._tell_at = 0, 0.0
        self.frames = 0

    def leg(self, leg: Leg) -> Side:
        """The interceptor for this place in the onion: "both" where nothing else stands, else "client" outermost and "server" innermost."""
        return Side(self.backlog, leg, self.room)

    def around(self, interceptors: Sequence[Interceptor]) -> Sequence[Interceptor]:
        """The onion with the recorder in it: one side where nothing can be rewritten, else one towards the client and one towards the server."""
        return (self.leg("client"), *interceptors, self.leg("server")) if interceptors else (self.leg("both"),)

    @property
    def dropped(self) -> int:
        return self.backlog.dropped

    def statistics(self) -> dict[str, int]:
        return {"tape_frames": self.frames, "tape_dropped": self.dropped, "tape_waiting_bytes": self.backlog.bytes}

    async def room(self) -> None:
        """Where nothing may be lost, wait until the writer has caught up."""
        self.backlog.settle()
        while self._complete and self.backlog.is_full:
            if self._room.is_set():  # else others wait already
                self._room = trio.Event()
            await self._room.wait()

    def _rung(self, much: bool) -> None:
        (self._much if much else self._some).set()

    # ------------------------------------------------ writing
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; then what still waits is written at once (it is bounded by `buffer`), and the tapes are closed."""
        task_status.started()
        try:
            while True:
                await self._some.wait()
                with trio.move_on_after(LINGER):
                    await self._much.wait()
                self._much = trio.Event()
                await self._prepare()
                await self._write_ready()
                while self._ready:
                    await trio.sleep(RETRY)
                    await self._write_ready()
        finally:
            self._finish()

    async def _prepare(self) -> None:
        """Take what waits now, a slice at a time."""
        self.backlog.settle()
        for track in self.backlog.busy:
            for _ in range(0, len(track.waiting), SLICE):
                self._ready.setdefault(track, []).extend(self.backlog.take(track))
                await trio.lowlevel.checkpoint()
        if self.backlog.is_empty:
            self._some = trio.Event()

    async def _write_ready(self) -> None:
        for track, frame in self._missing.items():
            if track in self._ready:
                self._ready[track].insert(0, lines_of([frame]))
        for track in self._ready:
            self._missing.pop(track, None)
        self._written(await self._thread(self._write, self._ready))

    def _write(self, batches: Batches) -> dict[Track, OSError]:
        """In a thread. What could not be written, and why."""
        failed = {}
        for track, lines in batches.items():
            try:
                self._writer.write(track, b"".join([one.data for one in lines]))
            except OSError as error:
                failed[track] = error
        return failed

    def _written(self, failed: dict[Track, OSError]) -> None:
        """Of what could not be written the next batch tells; where nothing may be lost it stays."""
        written, self._ready = self._ready, {track: self._ready[track] for track in failed} if self._complete else {}
        for track, lines in written.items():
            if track not in failed:
                self.frames += sum([one.count for one in lines])
            elif not self._complete:
                self.backlog.dropped += sum([one.count - one.gaps for one in lines])
                self._missing[track] = gap(lines, f"the tape could not be written: {failed[track].strerror or failed[track]}")
        self._log(failed)
        if not self._ready:
            self.backlog.written()
            self._room.set()

    def _log(self, failed: dict[Track, OSError]) -> None:
        if bool(failed) != self._failing:
            self._failing = bool(failed)
            if failed:
                log.error("a tape cannot be written", extra={"reason": str(next(iter(failed.values()))), "lost": not self._complete})
            else:
                log.warning("tapes can be written again", extra={"dropped": self.dropped})
        elif self.dropped > self._told and not failed and time.monotonic() >= self._tell_at:
            log.warning("frames were dropped: the tape did not keep up (record.buffer)", extra={"dropped": self.dropped - self._told})
            self._told, self._tell_at = self.dropped, time.monotonic() + TELL

    def _finish(self) -> None:
        """Synchronously, as all clean-up: there may be no time for more than this."""
        self.backlog.settle()
        for track in self.backlog.busy:
            while track.waiting:
                self._ready.setdefault(track, []).extend(self.backlog.take(track))
        for track, frame in self._missing.items():
            self._ready.setdefault(track, []).insert(0, lines_of([frame]))
        self._missing.clear()
        for error in self._write(self._ready).values():
            log.error("the end of a tape could not be written", extra={"reason": str(error)})
        self._ready = {}
        self._writer.close()
