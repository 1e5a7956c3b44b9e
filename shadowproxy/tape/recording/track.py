"""A tape being written: what happened, numbered and linked, until the writer takes it. Pure code.

In: moments from the recorder, synchronously. Out: batches of frames, as they are written. Bounded in count and bytes: a moment that finds no room is
counted, and a `gap` frame says where and how many. Owns no file; the writer knows where a track's frames go.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shadowproxy.exchange import Exchange
from shadowproxy.tape.frame import Direction, Frame, Http, Kind, Leg, Sse
from shadowproxy.tape.recording.lines import Lines
from shadowproxy.wire.jsonrpc import Array, BadMessage, Message, Raw, as_line

#: HTTP fields that are kept, of a request and of an answer. What identifies a client is replaced before it is written (`redact.py`).
FIELDS: Final = frozenset({b"accept", b"authorization", b"cache-control", b"content-type", b"cookie", b"last-event-id", b"location", b"mcp-method", b"mcp-name",
                           b"mcp-protocol-version", b"origin", b"retry-after", b"user-agent", b"www-authenticate"})  # fmt: skip
ASKED = 1000
"""Requests of a server to one client whose answers are linked to them; more than that wait for no answer."""


class Moment(msgspec.Struct, gc=False):
    """What the recorder saw, with no work done on it yet."""

    n: int
    t: float
    dir: Direction
    leg: Leg
    kind: Kind
    data: bytes | None = None
    method: str | None = None
    id: Raw | None = None
    session: str | None = None
    exchange: int | None = None
    stream: str | None = None
    re: int | None = None
    batch: int | None = None
    verb: str | None = None
    status: int | None = None
    headers: Sequence[tuple[bytes, bytes]] | None = None
    event_id: bytes | None = None
    event: bytes | None = None
    retry: int | None = None
    comment: bytes | None = None
    error: str | None = None
    text: str | None = None
    lost: int | None = None


class Passed(msgspec.Struct, gc=False):
    """A request, or the response to `asked`, that crossed the recorder by itself: what must be known at that time, and no work done on it. `n` comes later."""

    t: float
    leg: Leg
    exchange: Exchange
    data: bytes
    method: str | None
    id: Raw | None
    array: Array | None = None
    asked: Passed | None = None
    stream: bool = False  # it came as the only event of one
    n: int = 0


class Track:
    """One tape. `name` is the session's label, or "" for a tape of all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.n = 0
        self.gap: Moment | None = None  # at the end of what waits: it counts on
        self.waiting: list[Moment | Frame | Lines] = []
        self.size = 0  # bytes of these, nearly

    def number(self) -> int:
        self.n += 1
        return self.n

    def take(self, count: int) -> tuple[list[Moment | Frame | Lines], int]:
        """The first of what waits, and their share of its size."""
        items = self.waiting[:count]
        del self.waiting[:count]
        size = self.size * len(items) // (len(items) + len(self.waiting))
        self.size -= size
        if not self.waiting:
            self.gap = None  # it is on its way, and counts no further
        return items, size


class Talk:
    """What a recorder keeps of one session: where it goes, and which requests of the server its client has not answered."""

    __slots__ = ("asked", "label", "streaming", "track")

    def __init__(self, track: Track, label: str | None) -> None:
        self.track, self.label = track, label
        self.asked: dict[tuple[Leg, bytes], int] = {}
        self.streaming: dict[tuple[Leg, bytes], int] = {}  # the client's requests whose answer may come on another stream, which resumes theirs

    def ask(self, leg: Leg, id: bytes, n: int) -> None:
        _remember(self.asked, (leg, id), n)

    def stream(self, leg: Leg, id: bytes, n: int) -> None:
        _remember(self.streaming, (leg, id), n)

    def answer(self, leg: Leg, id: bytes) -> int | None:
        """The number of the request that this is the answer to, once."""
        return self.asked.pop((leg, id), None)


def _remember(table: dict[tuple[Leg, bytes], int], key: tuple[Leg, bytes], n: int) -> None:
    if len(table) >= ASKED:
        del table[next(iter(table))]
    table[key] = n


def frame_of(moment: Moment, origin: float) -> Frame:
    """As it is written; `origin` is the Unix time of t = 0."""
    data = moment.data
    if data is not None and b"\n" in data:
        data = as_line(data)[:-1]
    return Frame(n=moment.n, t=round(moment.t, 6), wall=round(origin + moment.t, 6), dir=moment.dir, kind=moment.kind, leg=moment.leg, session=moment.session,
                 exchange=moment.exchange, stream=moment.stream, method=moment.method, id=moment.id, re=moment.re, batch=moment.batch, token=None if data is None else _token(data),
                 message=None if data is None else Raw(data), http=http_of(moment.verb, moment.status, moment.headers), sse=_sse(moment), error=moment.error, text=None if moment.kind == "event" else _clean(moment.text), lost=moment.lost)  # fmt: skip


def linked(frame: Frame, data: bytes) -> Frame:
    """With the progress token that its message may have."""
    token = _token(data)
    return frame if token is None else msgspec.structs.replace(frame, token=token)


def http_of(verb: str | None, status: int | None, headers: Sequence[tuple[bytes, bytes]] | None) -> Http | None:
    """The envelope with the fields that are kept of these."""
    if headers is None and status is None:
        return None
    kept = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers or () if name in FIELDS or name.startswith(b"mcp-param-")]
    return Http(verb, status, tuple(kept))


def _sse(moment: Moment) -> Sse | None:
    if moment.kind == "event":
        return Sse(_text(moment.event_id), _text(moment.event or None), moment.retry, moment.text, _text(moment.comment))
    if moment.event_id is None and moment.retry is None:
        return None
    return Sse(_text(moment.event_id), None, moment.retry)


def _clean(text: str | None) -> str | None:
    """Half a surrogate pair has no place in UTF-8."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _token(data: bytes) -> Raw | None:
    """The progress token that a request asks with, or that a progress notification names."""
    if b"progressToken" not in data:
        return None
    try:
        message = Message.decode(data)
        token = message.params().get("progressToken") if message.method == "notifications/progress" else message.meta().get("progressToken")
    except BadMessage:
        return None
    return None if token is None else Raw(bytes(token))
