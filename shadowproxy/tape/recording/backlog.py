"""The backlog of a recorder: what its sides have seen, numbered and made frames, until it is written. Pure code.

In: what passed, and other moments, noted synchronously by `side.py`. Out: lines, track by track, as `recorder.py` takes them. Messages that pass by themselves are
worked on `TOGETHER`, because a loop over many costs a third of as many steps amid the traffic; the rest when it is taken. Bounded: when more than
`buffer` bytes wait, what comes is dropped, counted and marked as a gap, unless nothing may be lost; then who notes waits (`Recorder.room`).
"""
from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shadowproxy.exchange import Exchange, Headers, Session
from shadowproxy.tape.frame import Direction, Frame, Kind, Leg
from shadowproxy.tape.recording.envelopes import NO_ENVELOPE, Envelope, Envelopes, Redacts
from shadowproxy.tape.recording.lines import Lines, gap, lines_of
from shadowproxy.tape.recording.track import Moment, Passed, Talk, Track, frame_of, http_of, linked
from shadowproxy.wire.jsonrpc import Array, Raw, as_line

log = logging.getLogger("shadowproxy")

TOGETHER = 64
"""Messages that passed before they are numbered and made frames: a fifth of a millisecond."""
LARGE = 4096
"""Bytes of a message that is worked on at once, so that what waits for company is bounded."""
SLICE = 100
"""Moments that are worked on at a time: well under a millisecond that nobody else gets."""
OVERHEAD = 300
"""Bytes that a moment takes beside its message."""
MUCH = 1 << 18
"""Bytes that are worth writing at once."""


class Backlog:
    """`now`: the clock; `origin`: the Unix time of its present. `ring(much)` is told that something waits now, or much. `per_session`: a track for each legacy session,
    and one for what has none. `buffer`: bytes that may wait, those being written included, unless `complete`."""

    def __init__(self, redactor: Redacts | None, now: Callable[[], float], ring: Callable[[bool], None], *, origin: float, per_session: bool, buffer: int, complete: bool) -> None:
        self.now, self.origin, self._start = now, origin, now()
        self._ring, self._redactor, self._envelopes = ring, redactor, Envelopes(redactor)
        self._per_session, self._buffer, self.complete = per_session, buffer, complete
        self._everybody = Talk(Track(""), None)
        self._sessions = itertools.count(1).__next__
        self._exchanges = itertools.count(1).__next__
        self._passed: list[Passed] = []  # in order, not numbered yet
        self._busy: dict[Track, None] = {}  # those of which something waits
        self.bytes = self._taken = 0  # of all that is not written yet; of what of that was taken
        self._unsure = False  # an envelope is to be looked at again
        self.dropped = 0

    @property
    def busy(self) -> list[Track]:
        """Those of which something waits."""
        return list(self._busy)

    @property
    def is_empty(self) -> bool:
        return not (self._busy or self._passed)

    @property
    def is_full(self) -> bool:
        return self.bytes > self._buffer

    # ------------------------------------------------ who and which
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

    # ------------------------------------------------ what happened
    def passed(self, one: Passed) -> None:
        """Nearly all that happens comes here, amid the traffic: every step counts."""
        waiting = self._passed
        if not waiting:
            self._ring(False)
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
        if self.bytes + size > self._buffer and self.bytes and not self.complete:
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
        if self.bytes + size > self._buffer and self.bytes and not self.complete:
            self._drop(track, n, now)
            return n
        track.gap = None
        self._keep(track, [Moment(n, now, direction, leg, kind, data, session=talk.label, **rest)], size)
        return n

    def _keep(self, track: Track, items: Sequence[Moment | Frame | Lines], size: int) -> None:
        if not track.waiting:
            self._busy[track] = None
            self._ring(False)
        track.waiting += items
        track.size += size
        self.bytes += size
        if self.bytes - self._taken >= MUCH:
            self._ring(True)

    def _drop(self, track: Track, n: int, now: float) -> None:
        """One gap for all that are dropped in a row."""
        self.dropped += 1
        if track.gap is None:
            track.gap = Moment(n, now, "s2c", "both", "gap", lost=0, text="the writer did not keep up")
            self._keep(track, [track.gap], OVERHEAD)
        track.gap.lost = (track.gap.lost or 0) + 1

    # ------------------------------------------------ what is written
    def take(self, track: Track) -> list[Lines]:
        """The next of what waits for this track, `SLICE` moments at most, without secrets."""
        items, size = track.take(SLICE)
        self._taken += size
        if not track.waiting:
            del self._busy[track]
        ready, frames = list[Lines](), list[Frame]()
        for item in items:
            if type(item) is not Lines:
                frames.append(self._redacted(frame_of(item, self.origin) if type(item) is Moment else item))  # type: ignore[arg-type]  # a frame, else
                continue
            if frames:
                ready.append(lines_of(frames))
                frames = []
            ready.append(item)
        return [*ready, lines_of(frames)] if frames else ready

    def written(self) -> None:
        """All that was taken; its place is free again."""
        self.bytes -= self._taken
        self._taken = 0

    def _redacted(self, frame: Frame) -> Frame:
        if self._redactor is None:
            return frame
        try:
            return self._redactor.frame(frame)
        except Exception:  # whatever a user's own rule does: what could not be looked at is not written
            log.exception("a frame could not be redacted; the tape has a gap in its place")
            self.dropped += 1
            return gap([lines_of([frame])], "it could not be redacted")
