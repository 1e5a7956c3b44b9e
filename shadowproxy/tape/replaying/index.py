"""The index of a tape: one reading of it -> `Columns`.

In: frames with their offsets, in order. Out: what replay needs to know before it reads a frame again. What is kept while reading is bounded by
what is open at once. Frames of the leg towards the server are left out: a client is to see what a client saw.

A frame on a standing stream (a GET stream, `subscriptions/listen`) was caused by something; the tape does not say by what, so it waits for whatever
of its session came last before it. A frame of an ordinary exchange waits only for its request and for answers that the client gave in its course.
"""
from __future__ import annotations

from array import array
from typing import Final

import attrs

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.match import Matching
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.columns import Columns, Open, RecordedSession
from shadowproxy.wire.eras import era_of
from shadowproxy.wire.jsonrpc import BadMessage, Message

STANDING: Final = "subscriptions/listen"
QUESTIONS: Final = 1000
"""Requests of one server that may wait for the client's answer at once, as in the recorder."""


@attrs.define(eq=False)
class _Sequence:
    """One that is being read."""

    tail: int
    standing: bool


@attrs.define(eq=False)
class _Talk:
    """A session while it is being read."""

    recorded: RecordedSession
    open: dict[int, _Sequence] = attrs.field(factory=dict)  # by exchange, the newest last
    latest: int = 0  # the place of what came last
    of: _Sequence | None = None  # and its sequence
    questions: dict[int, tuple[int, _Sequence | None]] = attrs.field(factory=dict)  # by the frame's number
    asked: dict[bytes, int] = attrs.field(factory=dict)  # their numbers by id


def read_index(reading: Reading, matching: Matching) -> Columns:
    """Read it through."""
    indexer = Indexer(matching)
    while True:
        offset = reading.offset
        frame = reading.next()
        if frame is None:
            return indexer.done()
        indexer.add(frame, offset)


class Indexer:
    """`add` every frame, then `done`."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._columns = Columns()
        self._methods: dict[str, int] = {}
        self._talks: dict[tuple[str | None, bool], _Talk] = {}
        self._of_exchange: dict[tuple[str | None, int], _Talk] = {}
        self._streams: dict[tuple[str | None, str], _Sequence] = {}

    def add(self, frame: Frame, offset: int) -> None:
        if frame.kind == "gap":
            self._columns.gaps += frame.lost or 1
        self._columns.last_frame = max(self._columns.last_frame, frame.n)
        self._columns.last_exchange = max(self._columns.last_exchange, frame.exchange or 0)
        if frame.leg == "server" or frame.kind in ("gap", "about", "end"):
            return
        place = self._place(offset)
        if frame.dir == "s2c" or frame.kind == "cancelled":
            self._sent(frame, place)
        elif frame.kind == "request":
            self._request(frame, place)
        elif frame.kind == "open":
            self._opened(frame, place)
        elif frame.kind == "notification":
            self._noted(frame, place)
        elif frame.kind == "response":
            self._answered(frame, place)

    def done(self) -> Columns:
        columns = self._columns
        for session in columns.sessions:
            session.by_digest = array("I", sorted(session.requests, key=columns.digest.__getitem__))  # stable: equal ones stay in order
        return columns

    # ------------------------------------------------ what the client sent
    def _request(self, frame: Frame, place: int) -> None:
        columns, method = self._columns, frame.method or ""
        talk = self._talk(frame.session, _is_modern(frame))
        wanted = self._matching.recorded(method, bytes(frame.message or b""))
        request, session = len(columns.place), talk.recorded
        columns.place.append(place)
        columns.digest.append(wanted.digest)
        columns.loose.append(wanted.loose)
        columns.method.append(self._number(method))
        session.requests.append(request)
        if wanted.loose:
            session.loose.append(request)
        if method == "initialize":
            session.greetings.append(request)
        sequence = _Sequence(place, method == STANDING)
        self._begun(frame, talk, sequence)
        self._came(talk, place, sequence)

    def _opened(self, frame: Frame, place: int) -> None:
        talk = self._talk(frame.session, False)
        resumed = next((value for name, value in frame.http.headers if name == "last-event-id"), None) if frame.http else None
        talk.recorded.opens.append(Open(place, resumed))
        sequence = _Sequence(place, True)
        if frame.stream is not None:
            self._streams[frame.session, frame.stream] = sequence
        self._came(talk, place, sequence)

    def _begun(self, frame: Frame, talk: _Talk, sequence: _Sequence) -> None:
        if frame.exchange is not None:
            talk.open[frame.exchange] = sequence
            self._of_exchange[frame.session, frame.exchange] = talk

    def _noted(self, frame: Frame, place: int) -> None:
        talk = self._talk(frame.session, False)
        talk.recorded.notes.setdefault(frame.method or "", array("I")).append(place)
        self._came(talk, place, None)

    def _answered(self, frame: Frame, place: int) -> None:
        """The client's answer to a request of the server; its exchange goes on only after it."""
        talk = self._talk(frame.session, False)
        by_id = talk.asked.pop(bytes(frame.id or b""), None)
        question, sequence = talk.questions.pop(frame.re or by_id or 0, (0, None))
        if not question:
            return
        self._columns.answers[question] = place
        if sequence in talk.open.values() and sequence is not None:
            self._link(sequence, place)
            self._columns.cause[place] = question
        self._came(talk, place, None)

    # ------------------------------------------------ what the server sent
    def _sent(self, frame: Frame, place: int) -> None:
        talk, sequence = self._sequence_of(frame)
        if sequence is None or talk is None:
            return
        if sequence.standing and talk.of is not sequence and talk.latest:
            self._columns.cause[place] = talk.latest
            self._columns.awaited[talk.latest] = 1
        self._link(sequence, place)
        if frame.dir == "s2c":
            self._came(talk, place, sequence)
            talk.recorded.answered |= frame.kind != "refusal"
        if frame.kind == "request":
            self._asked(frame, place, talk, sequence)
        if frame.kind in ("response", "refusal", "cancelled", "close"):
            self._ended(frame)

    def _sequence_of(self, frame: Frame) -> tuple[_Talk | None, _Sequence | None]:
        stream = self._streams.get((frame.session, frame.stream)) if frame.stream is not None else None
        if stream is not None:
            return self._talk(frame.session, False), stream
        if frame.exchange is None:
            return None, None
        talk = self._of_exchange.get((frame.session, frame.exchange))
        if talk is None:  # a GET that was refused has no stream
            opened = self._streams.get((frame.session, f"g{frame.exchange}"))
            return (None, None) if opened is None else (self._talk(frame.session, False), opened)
        return talk, talk.open.get(frame.exchange)

    def _asked(self, frame: Frame, place: int, talk: _Talk, sequence: _Sequence) -> None:
        """A question on a standing stream belongs to the newest exchange that is under way, as its answer is what that one waits for."""
        if sequence.standing:
            under_way = [one for one in talk.open.values() if not one.standing]
            owner = under_way[-1] if under_way else None
        else:
            owner = sequence
        if len(talk.questions) >= QUESTIONS:
            del talk.questions[next(iter(talk.questions))]
        if len(talk.asked) >= QUESTIONS:
            del talk.asked[next(iter(talk.asked))]
        talk.questions[frame.n] = place, owner
        talk.asked[bytes(frame.id or b"")] = frame.n

    def _ended(self, frame: Frame) -> None:
        if frame.stream is not None and (frame.session, frame.stream) in self._streams:
            if frame.kind != "response":  # on a GET stream it answers another request, and more may follow
                del self._streams[frame.session, frame.stream]
        elif frame.exchange is not None and (talk := self._of_exchange.pop((frame.session, frame.exchange), None)) is not None:
            talk.open.pop(frame.exchange, None)

    # ------------------------------------------------ columns
    def _place(self, offset: int) -> int:
        columns = self._columns
        columns.offset.append(offset)
        columns.after.append(0)
        columns.cause.append(0)
        columns.awaited.append(0)
        return len(columns.offset) - 1

    def _link(self, sequence: _Sequence, place: int) -> None:
        self._columns.after[sequence.tail] = place
        sequence.tail = place

    def _came(self, talk: _Talk, place: int, sequence: _Sequence | None) -> None:
        talk.latest, talk.of = place, sequence

    def _talk(self, session: str | None, modern: bool) -> _Talk:
        key = (None, True) if modern else (session, False)
        talk = self._talks.get(key)
        if talk is None:
            talk = self._talks[key] = _Talk(RecordedSession(key[0], modern))
            self._columns.sessions.append(talk.recorded)
        return talk

    def _number(self, method: str) -> int:
        number = self._methods.setdefault(method, len(self._methods))
        if number == len(self._columns.methods):
            self._columns.methods.append(method)
        return number


def _is_modern(frame: Frame) -> bool:
    """As the endpoint judges it: by `_meta`, and by the header."""
    version = next((value for name, value in frame.http.headers if name == "mcp-protocol-version"), None) if frame.http else None
    params = None
    if b"io.modelcontextprotocol" in (data := bytes(frame.message or b"")) or b"\\" in data:
        try:
            params = Message.decode(data).params()
        except BadMessage:
            pass
    return era_of(params, None if version is None else version.encode()) == "modern"
