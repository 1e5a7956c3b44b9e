"""The index of a tape: one reading of it -> `Columns`.

In: frames with their offsets, in order. Out: what replay needs to know before it reads a frame again. What is kept while reading is bounded by
what is open at once. Frames of the leg towards the server are left out: a client is to see what a client saw.

A frame on a standing stream (a GET stream, `subscriptions/listen`) was caused by something; the tape does not say by what, so it waits for whatever
came last before it, of its session, in an exchange of the client's or from the client itself. What came on other standing streams, and pings, which a clock
causes, cause nothing. A frame of an ordinary exchange waits only for its request and for answers that the client gave in its course.
"""
from __future__ import annotations

from array import array
from collections.abc import Collection
from typing import Final, TypeVar, get_args

import attrs

from shadowproxy.tape.frame import Frame, Kind
from shadowproxy.tape.matching.match import UNTIMELY, Matching
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.columns import Columns, Groups, Open, RecordedSession
from shadowproxy.wire.eras import era_of
from shadowproxy.wire.jsonrpc import BadMessage, Message

STANDING: Final = "subscriptions/listen"
QUESTIONS: Final = 1000
"""Requests of one server that may wait for the client's answer at once, as in the recorder."""
K = TypeVar("K")
V = TypeVar("V")
_ALL: Final[tuple[Kind, ...]] = get_args(Kind)
_RESPONSE: Final[tuple[Kind, ...]] = ("response",)


@attrs.define(eq=False)
class _Sequence:
    """One that is being read. `standing`: it is no answer. `causes`: which kinds of frame in it may cause something on a standing stream."""

    begun: int
    standing: bool
    causes: Collection[Kind]
    tail: int = attrs.field(init=False)
    since: int = attrs.field(init=False)  # of a standing one: what caused its newest frame

    def __attrs_post_init__(self) -> None:
        self.tail = self.since = self.begun


@attrs.define(eq=False)
class _Talk:
    """A session while it is being read."""

    recorded: RecordedSession
    open: dict[int, _Sequence] = attrs.field(factory=dict)  # by exchange, the newest last
    latest: int = 0  # the place of what came last and may cause something
    said: dict[int, int] = attrs.field(factory=dict)  # the client's notifications and its farewell, places by the frames' numbers
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
        if frame.leg == "server" or frame.kind in ("gap", "about", "left"):
            return
        place = self._place(offset)
        if frame.kind == "refusal" and frame.exchange is None:
            self._refused(frame, place)
        elif frame.dir == "s2c" or frame.kind == "cancelled":
            self._sent(frame, place)
        elif frame.kind == "request":
            self._request(frame, place)
        elif frame.kind == "open":
            self._opened(frame, place)
        elif frame.kind == "response":
            self._answered(frame, place)
        else:
            self._noted(frame, place)

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
        causes = method != STANDING and method not in UNTIMELY
        if frame.exchange is not None:
            talk.open[frame.exchange] = _Sequence(place, method == STANDING, _ALL if causes else ())
            self._of_exchange[frame.session, frame.exchange] = talk
        if causes:
            talk.latest = place

    def _opened(self, frame: Frame, place: int) -> None:
        talk = self._talk(frame.session, False)
        resumed = next((value for name, value in frame.http.headers if name == "last-event-id"), None) if frame.http else None
        talk.recorded.opens.append(Open(place, resumed))
        if frame.stream is not None:
            self._streams[frame.session, frame.stream] = _Sequence(place, True, _RESPONSE)  # of a request whose own stream was closed before

    def _noted(self, frame: Frame, place: int) -> None:
        """A notification of the client's, or the end that it made of its session."""
        talk = self._talk_of(frame)
        if frame.kind == "end":
            talk.recorded.end = place
        else:
            talk.recorded.notes.setdefault(frame.method or "", array("I")).append(place)
            talk.latest = place
        _remember(talk.said, frame.n, place)

    def _answered(self, frame: Frame, place: int) -> None:
        """The client's answer to a request of the server; its exchange goes on only after it."""
        talk = self._talk_of(frame)
        by_id = talk.asked.pop(bytes(frame.id or b""), None)
        question, sequence = talk.questions.pop(frame.re or by_id or 0, (0, None))
        if not question:
            return
        self._columns.answers[question] = place
        if sequence in talk.open.values() and sequence is not None:
            self._link(sequence, place)
            self._columns.cause[place] = question
        talk.latest = place

    # ------------------------------------------------ what the server sent
    def _refused(self, frame: Frame, place: int) -> None:
        """What it said to something that expects no answer."""
        if said := self._talk_of(frame).said.get(frame.re or 0):
            self._columns.after[said] = place

    def _sent(self, frame: Frame, place: int) -> None:
        talk, sequence = self._sequence_of(frame)
        if sequence is None or talk is None:
            return
        if not (sequence.standing and frame.kind == "cancelled"):  # such a stream is open until its client leaves, whenever that is
            self._caused(sequence, place, talk.latest)
            self._link(sequence, place)
        if frame.dir == "s2c":
            talk.latest = place if frame.kind in sequence.causes else talk.latest
            talk.recorded.answered |= frame.kind != "refusal"
        if frame.kind == "request":
            self._asked(frame, place, talk, sequence)
        if frame.kind in ("response", "refusal", "cancelled", "close"):
            self._ended(frame)

    def _caused(self, sequence: _Sequence, place: int, latest: int) -> None:
        if sequence.standing and latest > sequence.since:
            sequence.since = self._columns.cause[place] = latest
            self._columns.awaited[latest] = 1
            groups = self._columns.groups.setdefault(sequence.begun, Groups())
            groups.causes.append(latest)
            groups.firsts.append(place)

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
        _remember(talk.questions, frame.n, (place, owner))
        _remember(talk.asked, bytes(frame.id or b""), frame.n)

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

    def _talk_of(self, frame: Frame) -> _Talk:
        """Of a frame whose message may not tell its era: without a session it belongs to the only one that has been there without."""
        return self._talk(frame.session, frame.session is None and (None, True) in self._talks and (None, False) not in self._talks)

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


def _remember(table: dict[K, V], key: K, value: V) -> None:
    if len(table) >= QUESTIONS:
        del table[next(iter(table))]
    table[key] = value


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
