"""The recorder: what its sides have seen, numbered, until it is written; and the one task that writes.

In: moments, noted synchronously by `side.py`. Out: frames for the `Writer`. What is noted is worked on later: `TOGETHER` plain messages at once, because a loop
over many costs a third of as many steps amid the traffic; the rest in slices, by `run`; only the writing itself is in a thread. The traffic never waits for that: when more than `buffer` bytes wait, moments are dropped, counted and marked as a gap. With `durability`
"complete" the exchange waits instead. `run` is a service of whoever opened the recorder; leaving it writes what waits, wherever it was cancelled.
"""
from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
import trio

from shadowproxy.exchange import Exchange, Headers, Interceptor, Session
from shadowproxy.tape.frame import Direction, Frame, Kind, Leg
from shadowproxy.tape.recording.envelopes import NO_ENVELOPE, Envelope, Envelopes, Redacts
from shadowproxy.tape.recording.lines import Lines, gap, lines_of
from shadowproxy.tape.recording.side import Side
from shadowproxy.tape.recording.track import Moment, Passed, Talk, Track, frame_of, http_of, linked
from shadowproxy.wire.jsonrpc import Array, Raw, as_line

log = logging.getLogger("shadowproxy")

LINGER = 0.05
"""Seconds that frames are gathered before they are written: one thread hop for many (design: persistence batches of 50 or 100 ms)."""
SLICE = 100
"""Moments that are worked on between two checkpoints: well under a millisecond that nobody else gets."""
RETRY = 1.0
"""Seconds until a write that failed is tried again, where nothing may be lost."""
TOGETHER = 64
"""Messages that passed before they are numbered and made frames: a tenth of a millisecond."""
LARGE = 4096
"""Bytes of a message that is worked on at once, so that what waits for company is bounded."""
OVERHEAD = 300
"""Bytes that a moment takes beside its message."""
FLUSH = 1 << 18
"""Bytes that are written without waiting for more."""
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
    `thread` runs what blocks."""

    def __init__(self, writer: Writer, redactor: Redacts | None, *, per_session: bool = False, buffer: int = 8 << 20,
                 durability: Literal["lossy", "complete"] = "lossy", origin: float | None = None,
                 thread: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync) -> None:  # fmt: skip
        self._thread = thread
        self._writer, self._redactor, self._buffer, self.complete = writer, redactor, buffer, durability == "complete"
        self.now = trio.lowlevel.current_clock().current_time
        self._start = self.now()
        self.origin = time.time() if origin is None else origin
        self._everybody = Talk(Track(""), None)
        self._per_session = per_session
        self._sessions = itertools.count(1).__next__
        self._exchanges = itertools.count(1).__next__
        self._passed: list[Passed] = []  # in order, not numbered yet
        self._busy: dict[Track, None] = {}  # those of which something waits
        self._envelopes = Envelopes(redactor)
        self._ready: Batches = {}
        self._bytes = self._ready_bytes = 0  # of all that is not written yet; of those in `_ready`
        self._missing: dict[Track, Frame] = {}  # the gap that goes before what is written next
        self._some, self._much, self._room = trio.Event(), trio.Event(), trio.Event()
        self._failing = self._unsure = False  # cannot write; an envelope that is to be looked at again
        self._told, self._tell_at = 0, 0.0
        self.frames = self.dropped = 0

    def leg(self, leg: Leg) -> Side:
        """The interceptor for this place in the onion: "both" where nothing else stands, else "client" outermost and "server" innermost."""
        return Side(self, leg)

    def around(self, interceptors: Sequence[Interceptor]) -> Sequence[Interceptor]:
        """The onion with the recorder in it: one side where nothing can be rewritten, else one towards the client and one towards the server."""
        return (self.leg("client"), *interceptors, self.leg("server")) if interceptors else (self.leg("both"),)

    def statistics(self) -> dict[str, int]:
        return {"tape_frames": self.frames, "tape_dropped": self.dropped, "tape_waiting_bytes": self._bytes}

    # ------------------------------------------------ what the sides note
    def talk(self, session: Session | None) -> Talk:
        if session is None:
            return self._everybody
        talk: Talk | None = session.recorded
        if talk is None:
            label = f"s{self._sessions()}"
            talk = session.recorded = Talk(Track(label) if self._per_session else self._everybody.track, label)
        return talk

    def number(self, exchange: Exchange) -> int:
        if not exchange.number:
            exchange.number = self._exchanges()
        return exchange.number

    def passed(self, one: Passed) -> None:
        """Nearly all that happens comes here, amid the traffic: every step counts."""
        waiting = self._passed
        if not waiting:
            self._some.set()
        waiting.append(one)
        if len(waiting) >= TOGETHER or len(one.data) > LARGE:
            self.settle()

    def n(self, one: Passed) -> int:
        """Its number in its tape."""
        self.settle()
        return one.n

    def settle(self) -> None:
        """Whatever passed until now gets its number, and its frame, so that what is noted next comes after it."""
        if not self._passed:
            return
        passed, self._passed = self._passed, []
        together = b"\n".join([one.data for one in passed])
        size = OVERHEAD * len(passed) + len(together)
        if self._bytes + size > self._buffer and self._bytes and not self.complete:
            for one in passed:
                self._lose(one)
            return
        lines, tokens = together.count(b"\n") >= len(passed), b"progressToken" in together
        look = self._redactor is not None and self._redactor.needs_look(together)
        made: dict[Track, list[Frame]] = {}
        for one in passed:
            if lines and b"\n" in one.data:
                one.data = as_line(one.data)[:-1]
            talk, frame = self._frame(one)
            if tokens:
                frame = linked(frame, one.data)
            try:
                made[talk.track].append(frame)
            except KeyError:
                made[talk.track] = [frame]
        for track, frames in made.items():
            track.gap = None
            self._keep(track, frames if look or self._unsure else [lines_of(frames)], size * len(frames) // len(passed))
        self._unsure = False

    def _frame(self, one: Passed) -> tuple[Talk, Frame]:
        """In one piece, because it is run for nearly every message."""
        exchange, asked, array, data = one.exchange, one.asked, one.array, one.data
        session = exchange.session
        talk: Talk = self._everybody if session is None else session.recorded or self.talk(session)
        talk.track.n = one.n = n = talk.track.n + 1
        t = int((one.t - self._start) * 1e6) / 1e6
        headers = exchange.headers
        if asked is not None:
            http, rules = NO_ENVELOPE if headers is None else self._envelope(None, exchange.status, exchange.reply_headers)
            number, stream = exchange.number, f"x{exchange.number}" if one.stream else None
            frame = Frame(n, t, "s2c", "response", self.origin + t, one.leg, talk.label, number, stream, None, one.id, asked.n, None, None, Raw(data), http)
        else:
            number = exchange.number or self.number(exchange)
            batch = None
            if array is not None:
                batch = array.first = array.first or n
            if one.leg != "server":
                exchange.asked = n
            http, rules = self._envelope("POST", None, headers) if headers else NO_ENVELOPE
            frame = Frame(n, t, "c2s", "request", self.origin + t, one.leg, talk.label, number, None, one.method, one.id, None, batch, None, Raw(data), http)
        return talk, msgspec.structs.replace(frame, redacted=rules) if rules else frame

    def _envelope(self, verb: str | None, status: int | None, headers: Headers) -> Envelope:
        try:
            return self._envelopes.of(verb, status, headers)
        except Exception:  # a user's own rule; later, where it costs a frame and not the exchange, it is told
            self._unsure = True
            return http_of(verb, status, headers), ()

    def _lose(self, one: Passed) -> None:
        track = self.talk(one.exchange.session).track
        one.n = track.number()
        self.number(one.exchange)
        self._drop(track, one.n, one.t - self._start)

    def note(self, talk: Talk, direction: Direction, leg: Leg, kind: Kind, data: bytes | None = None, *, array: Array | None = None, **rest: Any) -> int:
        """Remember it; give its number in its tape, whether there was room or not."""
        self.settle()
        track, now = talk.track, self.now() - self._start
        n = track.number()
        if array is not None:
            rest["batch"] = array.first = array.first or n
        size = OVERHEAD if data is None else OVERHEAD + len(data)
        if self._bytes + size > self._buffer and self._bytes and not self.complete:
            self._drop(track, n, now)
            return n
        track.gap = None
        self._keep(track, [Moment(n, now, direction, leg, kind, data, session=talk.label, **rest)], size)
        return n

    def _keep(self, track: Track, items: Sequence[Moment | Frame | Lines], size: int) -> None:
        if not track.waiting:
            self._busy[track] = None
            self._some.set()
        track.waiting += items
        track.size += size
        self._bytes += size
        if self._bytes - self._ready_bytes >= FLUSH:
            self._much.set()

    def _drop(self, track: Track, n: int, now: float) -> None:
        """One gap for all that are dropped in a row."""
        self.dropped += 1
        if track.gap is None:
            track.gap = Moment(n, now, "s2c", "both", "gap", lost=0, text="the writer did not keep up")
            self._keep(track, [track.gap], OVERHEAD)
        track.gap.lost = (track.gap.lost or 0) + 1

    async def room(self) -> None:
        """Where nothing may be lost, wait until the writer has caught up."""
        self.settle()
        while self.complete and self._bytes > self._buffer:
            if self._room.is_set():  # else others wait already
                self._room = trio.Event()
            await self._room.wait()

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
                self.settle()
                await self._prepare()
                await self._write_ready()
                while self._ready:
                    await trio.sleep(RETRY)
                    await self._write_ready()
        finally:
            self._finish()

    async def _prepare(self) -> None:
        """Make frames of what waits, a slice at a time."""
        for track in list(self._busy):
            for _ in range(0, len(track.waiting), SLICE):
                self._slice(track)
                await trio.lowlevel.checkpoint()
        if not self._busy and not self._passed:
            self._some = trio.Event()

    def _slice(self, track: Track) -> None:
        items, size = track.take(SLICE)
        if not track.waiting:
            del self._busy[track]
        ready, frames = self._ready.setdefault(track, []), []
        for item in items:
            if type(item) is not Lines:
                frames.append(self._redacted(frame_of(item, self.origin) if type(item) is Moment else item))  # type: ignore[arg-type]  # a frame, else
                continue
            if frames:
                ready.append(lines_of(frames))
                frames = []
            ready.append(item)
        if frames:
            ready.append(lines_of(frames))
        self._ready_bytes += size

    def _redacted(self, frame: Frame) -> Frame:
        if self._redactor is None:
            return frame
        try:
            return self._redactor.frame(frame)
        except Exception:  # whatever a user's own rule does: what could not be looked at is not written
            log.exception("a frame could not be redacted; the tape has a gap in its place")
            self.dropped += 1
            return gap([lines_of([frame])], "it could not be redacted")

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
        written, self._ready = self._ready, {track: self._ready[track] for track in failed} if self.complete else {}
        for track, lines in written.items():
            if track not in failed:
                self.frames += sum([one.count for one in lines])
            elif not self.complete:
                self.dropped += sum([one.count - one.gaps for one in lines])
                self._missing[track] = gap(lines, f"the tape could not be written: {failed[track].strerror or failed[track]}")
        self._log(failed)
        if not self._ready:
            self._bytes -= self._ready_bytes
            self._ready_bytes = 0
            self._room.set()

    def _log(self, failed: dict[Track, OSError]) -> None:
        if bool(failed) != self._failing:
            self._failing = bool(failed)
            if failed:
                log.error("a tape cannot be written", extra={"reason": str(next(iter(failed.values()))), "lost": not self.complete})
            else:
                log.warning("tapes can be written again", extra={"dropped": self.dropped})
        elif self.dropped > self._told and not failed and time.monotonic() >= self._tell_at:
            log.warning("frames were dropped: the tape did not keep up (record.buffer)", extra={"dropped": self.dropped - self._told})
            self._told, self._tell_at = self.dropped, time.monotonic() + TELL

    def _finish(self) -> None:
        """Synchronously, as all clean-up: there may be no time for more than this."""
        self.settle()
        for track in list(self._busy):
            while track.waiting:
                self._slice(track)
        for track, frame in self._missing.items():
            self._ready.setdefault(track, []).insert(0, lines_of([frame]))
        self._missing.clear()
        for error in self._write(self._ready).values():
            log.error("the end of a tape could not be written", extra={"reason": str(error)})
        self._ready = {}
        self._writer.close()
