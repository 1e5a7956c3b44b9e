"""The recorder: what its sides have seen, numbered, until it is written; and the one task that writes.

In: moments, noted synchronously by `side.py`. Out: frames for the `Writer`. What is noted is worked on later, in slices, by `run`; only the writing itself
is in a thread. The traffic never waits for that: when more than `buffer` bytes wait, moments are dropped, counted and marked as a gap. With `durability`
"complete" the exchange waits instead. `run` is a service of whoever opened the recorder; leaving it writes what waits, wherever it was cancelled.
"""
from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import trio

from shadowproxy.exchange import Exchange, Headers, Interceptor, Session
from shadowproxy.tape.frame import Direction, Frame, Http, Kind, Leg
from shadowproxy.tape.recording.side import Side
from shadowproxy.tape.recording.track import FIELDS, Moment, Talk, Track, frame_of, gap, http_of, linked
from shadowproxy.wire.jsonrpc import Array, Raw

log = logging.getLogger("shadowproxy")

LINGER = 0.05
"""Seconds that frames are gathered before they are written: one thread hop for many (design: persistence batches of 50 or 100 ms)."""
SLICE = 100
"""Moments that are worked on between two checkpoints: well under a millisecond that nobody else gets."""
RETRY = 1.0
"""Seconds until a write that failed is tried again, where nothing may be lost."""
OVERHEAD = 300
"""Bytes that a moment takes beside its message."""
ENVELOPES = 256
"""Different HTTP envelopes that are remembered."""
TELL = 10.0
"""Seconds between two lines in the log about frames that were dropped."""

Batches: TypeAlias = dict[Track, list[Frame]]


class Writer(Protocol):
    """Where frames go; called from a thread, one call at a time."""

    def write(self, track: Track, frames: Sequence[Frame]) -> None:
        """Append them. Raises `OSError`, with nothing appended that a reader would take for whole."""
        ...

    def close(self) -> None: ...


class Redacts(Protocol):
    def needs_look(self, data: bytes) -> bool: ...
    def frame(self, frame: Frame) -> Frame: ...


class Recorder:
    """`per_session`: a track for each legacy session, and one for what has none. `buffer`: bytes that may wait for the writer, those being written included.
    `thread` runs what blocks."""

    def __init__(self, writer: Writer, redactor: Redacts | None, *, per_session: bool = False, buffer: int = 8 << 20,
                 durability: Literal["lossy", "complete"] = "lossy", origin: float | None = None,
                 thread: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync) -> None:  # fmt: skip
        self._thread = thread
        self._writer, self._redactor, self._buffer, self.complete = writer, redactor, buffer, durability == "complete"
        self._start = trio.current_time()
        self.origin = time.time() if origin is None else origin
        self._everybody = Talk(Track(""), None)
        self._per_session = per_session
        self._sessions = itertools.count(1).__next__
        self._exchanges = itertools.count(1).__next__
        self._busy: dict[Track, None] = {}  # those of which something waits
        self._envelopes: dict[tuple[str | None, int | None, Headers], Http | None] = {}
        self._ready: Batches = {}
        self._bytes = self._ready_bytes = 0  # of all that is not written yet; of those in `_ready`
        self._missing: dict[Track, Frame] = {}  # the gap that goes before what is written next
        self._some, self._room = trio.Event(), trio.Event()
        self._failing = False
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

    def note(self, talk: Talk, direction: Direction, leg: Leg, kind: Kind, data: bytes | None = None, *, array: Array | None = None, **rest: Any) -> int:
        """Remember it; give its number in its tape, whether there was room or not."""
        track = talk.track
        n = track.number()
        if array is not None:
            rest["batch"] = array.first = array.first or n
        size = OVERHEAD if data is None else OVERHEAD + len(data)
        now = trio.current_time() - self._start
        if self._bytes + size > self._buffer and self._bytes and not self.complete:
            self._drop(track, n, now)
            return n
        track.gap = None
        self._keep(track, Moment(n, now, direction, leg, kind, data, session=talk.label, **rest), size)
        return n

    def note_plain(self, talk: Talk, direction: Direction, leg: Leg, kind: Kind, data: bytes, exchange: int, method: str | None, id: Raw | None, re: int | None,
                   verb: str | None, status: int | None, headers: Headers | None) -> int:  # fmt: skip
        """`note` for a message that came by itself, as nearly all do: a frame at once, so that nothing of its request is kept alive until it is written."""
        http = None if headers is None else self._envelope(verb, status, headers)
        size = OVERHEAD + len(data)
        if (http is None and headers is not None) or b"\n" in data or (self._bytes + size > self._buffer and not self.complete):
            return self.note(talk, direction, leg, kind, data, exchange=exchange, method=method, id=id, re=re, verb=verb, status=status, headers=headers)
        track = talk.track
        track.gap = None
        track.n = n = track.n + 1
        now = int((trio.current_time() - self._start) * 1e6) / 1e6
        self._keep(track, Frame(n, now, direction, kind, self.origin + now, leg, talk.label, exchange, None, method, id, re, None, None, Raw(data), http), size)
        return n

    def _envelope(self, verb: str | None, status: int | None, headers: Headers) -> Http | None:
        """The same for the same fields, which clients send with every request; None if there is something in it to replace."""
        kept = tuple([field for field in headers if field[0] in FIELDS or field[0][:10] == b"mcp-param-"])
        try:
            return self._envelopes[verb, status, kept]
        except KeyError:
            pass
        if len(self._envelopes) >= ENVELOPES:
            self._envelopes.clear()
        http = http_of(verb, status, kept)
        frame = Frame(n=0, t=0.0, dir="c2s", kind="open", http=http)
        try:
            secret = self._redactor is not None and bool(self._redactor.frame(frame).redacted)
        except Exception:  # a user's own rule; later, where it costs a frame and not the exchange, it is told
            secret = True
        self._envelopes[verb, status, kept] = None if secret else http
        return self._envelopes[verb, status, kept]

    def _keep(self, track: Track, item: Moment | Frame, size: int) -> None:
        if not track.waiting:
            self._busy[track] = None
            self._some.set()
        track.waiting.append(item)
        track.size += size
        self._bytes += size

    def _drop(self, track: Track, n: int, now: float) -> None:
        """One gap for all that are dropped in a row."""
        self.dropped += 1
        if track.gap is None:
            track.gap = Moment(n, now, "s2c", "both", "gap", lost=0, text="the writer did not keep up")
            self._keep(track, track.gap, OVERHEAD)
        track.gap.lost = (track.gap.lost or 0) + 1

    async def room(self) -> None:
        """Where nothing may be lost, wait until the writer has caught up."""
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
                await trio.sleep(LINGER)
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
        if not self._busy:
            self._some = trio.Event()

    def _slice(self, track: Track) -> None:
        items, size = track.take(SLICE)
        if not track.waiting:
            del self._busy[track]
        frames: list[Frame] = items if self._harmless(items) else [self._done(item) for item in items]  # type: ignore[assignment]  # harmless: frames all
        self._ready.setdefault(track, []).extend(frames)
        self._ready_bytes += size

    def _harmless(self, items: Sequence[Moment | Frame]) -> bool:
        """Whether these can be written as they are. One look at all of them costs a third of a look at each, and nearly always it is enough."""
        try:
            together = b"\n".join([item.message for item in items])  # type: ignore[union-attr,misc]  # what has none is noticed
        except (AttributeError, TypeError):
            return False
        return b"progressToken" not in together and (self._redactor is None or not self._redactor.needs_look(together))

    def _done(self, item: Moment | Frame) -> Frame:
        return self._redacted(frame_of(item, self.origin) if type(item) is Moment else linked(item))  # type: ignore[arg-type]  # a frame, else

    def _redacted(self, frame: Frame) -> Frame:
        if self._redactor is None:
            return frame
        try:
            return self._redactor.frame(frame)
        except Exception:  # whatever a user's own rule does: what could not be looked at is not written
            log.exception("a frame could not be redacted; the tape has a gap in its place")
            self.dropped += 1
            return gap([frame], "it could not be redacted")

    async def _write_ready(self) -> None:
        for track, frame in self._missing.items():
            if track in self._ready:
                self._ready[track].insert(0, frame)
        for track in self._ready:
            self._missing.pop(track, None)
        self._settle(await self._thread(self._write, self._ready))

    def _write(self, batches: Batches) -> dict[Track, OSError]:
        """In a thread. What could not be written, and why."""
        failed = {}
        for track, frames in batches.items():
            try:
                self._writer.write(track, frames)
            except OSError as error:
                failed[track] = error
        return failed

    def _settle(self, failed: dict[Track, OSError]) -> None:
        """Of what could not be written the next batch tells; where nothing may be lost it stays."""
        written, self._ready = self._ready, {track: self._ready[track] for track in failed} if self.complete else {}
        for track, frames in written.items():
            if track not in failed:
                self.frames += len(frames)
            elif not self.complete:
                self.dropped += sum(frame.kind != "gap" for frame in frames)
                self._missing[track] = gap(frames, f"the tape could not be written: {failed[track].strerror or failed[track]}")
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
        for track in list(self._busy):
            while track.waiting:
                self._slice(track)
        for track, frame in self._missing.items():
            self._ready.setdefault(track, []).insert(0, frame)
        self._missing.clear()
        for error in self._write(self._ready).values():
            log.error("the end of a tape could not be written", extra={"reason": str(error)})
        self._ready = {}
        self._writer.close()
