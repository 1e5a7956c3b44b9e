"""Messages of a foreign recording -> frames with their numbers and links. Pure code.

In: messages in the order of their time, each with its direction. Out: frames as the recorder would have written them: exchanges numbered, responses
linked to their requests, what names a progress token put beside its request. A request that is never answered is forgotten after 10 000 others.
"""
from __future__ import annotations

from typing import Any, Final, TypeAlias

from shadowproxy.tape.frame import Direction, Frame, Http, Kind
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, as_line

OPEN: Final = 10_000
"""Requests that wait for their responses, and progress tokens that are remembered; past them the oldest is forgotten."""
_Key: TypeAlias = tuple[str, str, bytes]


class Linker:
    """`origin` is the Unix time of t = 0. A `peer` is what ids are unique within: a session, or one client's connection."""

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self._n = self._exchanges = 0
        self._asked: dict[_Key, tuple[int, int | None]] = {}
        self._tokens: dict[_Key, int] = {}

    def message(self, t: float, dir: Direction, data: bytes, *, peer: str = "", exchange: int | None = None, streamed: bool = False, **rest: Any) -> Frame:
        """The frame of one message. `exchange`: of a server's message, which one it came in, where that is known. Raises `BadMessage`."""
        message = Message.decode(data)
        id, token, re = message.id, _token(message), None
        kind: Kind = "response" if message.is_response else "request" if message.is_request else "notification"
        if kind == "response":
            re, exchange = self._answer(_key(peer, "c2s" if dir == "s2c" else "s2c", id), exchange)
        elif dir == "c2s":
            exchange = self.exchange() if kind == "request" else None
        elif exchange is None and token is not None:
            exchange = self._tokens.get(_key(peer, "", token))
        if kind == "request":
            _remember(self._asked, _key(peer, dir, id), (self._n + 1, exchange))
            if dir == "c2s" and token is not None and exchange is not None:
                _remember(self._tokens, _key(peer, "", token), exchange)
        if streamed and dir == "s2c" and exchange is not None:
            rest.setdefault("stream", f"x{exchange}")
        return self.frame(t, dir, kind, message=Raw(as_line(data)[:-1]), method=message.method, id=_plain(id), token=_plain(token), re=re,
                          exchange=exchange, **rest)  # fmt: skip

    def frame(self, t: float, dir: Direction, kind: Kind, **rest: Any) -> Frame:
        """Any other frame, numbered."""
        self._n += rest.get("lost") or 1
        return Frame(n=self._n - (rest.get("lost") or 1) + 1, t=round(t, 6), dir=dir, kind=kind, wall=round(self._origin + t, 6), **rest)

    def exchange(self) -> int:
        """The number of a new exchange."""
        self._exchanges += 1
        return self._exchanges

    def exchange_of(self, peer: str, id: Raw) -> int | None:
        """That of a client's request that waits for its response."""
        return self._asked.get(_key(peer, "c2s", id), (0, None))[1]

    def _answer(self, asked: _Key, exchange: int | None) -> tuple[int | None, int | None]:
        """What a response answers: the number of the request, and its exchange if the client had asked."""
        re, of = self._asked.pop(asked, (None, exchange))
        return re, (of if asked[1] == "c2s" else None)


def answer_http(status: int | None, streamed: bool) -> Http:
    """The envelope of an answer whose fields nobody kept, but for what its shape tells."""
    return Http(None, status, (("content-type", "text/event-stream" if streamed else "application/json"),))


def _key(peer: str, side: str, value: Raw | None) -> _Key:
    return peer, side, b"" if value is None else bytes(value)


def _plain(value: Raw | None) -> Raw | None:
    return None if value is None else Raw(bytes(value))


def _token(message: Message) -> Raw | None:
    """The progress token that a request asks with, or that a progress notification names."""
    if not message.mentions(b"progressToken"):
        return None
    try:
        return message.params().get("progressToken") if message.method == "notifications/progress" else message.meta().get("progressToken")
    except BadMessage:
        return None


def _remember(table: dict[_Key, Any], key: _Key, value: Any) -> None:
    if len(table) >= OPEN:
        del table[next(iter(table))]
    table[key] = value
