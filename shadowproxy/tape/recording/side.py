"""A side of the recorder: an interceptor that notes every exchange as it passes, untouched.

In: exchanges. Out: the same; what happened, for the `Backlog`, noted synchronously. A call that is answered with a message, as nearly all are, only leaves two
`Passed` there, worked on later with others: that costs a third. Owns nothing: what it keeps of an exchange goes with it, and leaves no cycle behind. Between the legs stand interceptors that may rewrite, so "client" shows what the client has said and was told, "server" what the server has.
"""
from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import trio

from shadowproxy.errors import ProxyError, SpecError, UpstreamAnswered
from shadowproxy.exchange import Call, End, Exchange, Headers, Left, Listen, Notify, Replies, Reply, Said
from shadowproxy.tape.frame import Kind, Leg
from shadowproxy.tape.recording.backlog import Backlog
from shadowproxy.tape.recording.track import Passed, Talk
from shadowproxy.wire.eras import META_VERSION
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, encode, error_reply, key_of
from shadowproxy.wire.sse import Event

_SERVER_INFO = "io.modelcontextprotocol/serverInfo"
_HELLO = ("initialize", "server/discover")


class Side:
    """One place in the onion. An exchange whose end is on tape has its number negated, so that an error is not told twice."""

    def __init__(self, backlog: Backlog, leg: Leg, room: Callable[[], Awaitable[None]]) -> None:
        self.backlog, self.leg, self.room = backlog, leg, room

    async def call(self, next: Call, exchange: Exchange) -> Reply:
        backlog, request = self.backlog, exchange.request
        method = request.method
        asked = Passed(backlog.now(), self.leg, exchange, request.encode(), method, request.members.get("id"), request.array)
        backlog.passed(asked)
        try:
            if backlog.complete:
                await self.room()
            reply = await next(exchange)
        except BaseException as error:
            self.failed(backlog.talk(exchange.session), exchange, error, backlog.n(asked))
            raise
        if type(reply) is Message and reply.event_id is None and reply.retry is None and method not in _HELLO:
            backlog.passed(Passed(backlog.now(), self.leg, exchange, reply.encode(), None, reply.members.get("id"), None, asked, exchange.as_event))
            return reply
        taped = Taped(self, backlog.talk(exchange.session), exchange, backlog.n(asked))
        return taped.whole(reply) if isinstance(reply, Message) else taped.streaming(reply)

    async def notify(self, next: Notify, exchange: Exchange) -> None:
        talk = self.backlog.talk(exchange.session)
        n = self._tell(talk, exchange, exchange.request)
        try:
            await self.room()
            await next(exchange)
        except BaseException as error:
            self.failed(talk, exchange, error, n)
            raise

    def _tell(self, talk: Talk, exchange: Exchange, said: Message) -> int:
        """A notification of the client, or its answer to a request of the server."""
        headers = exchange.headers
        asked = talk.answer(self.leg, _key(said)) if said.is_response else None
        return self.backlog.note(talk, "c2s", self.leg, "response" if said.is_response else "notification", said.encode(), method=said.method, id=said.id, re=asked,
                                  verb="POST" if headers else None, headers=headers, array=said.array)  # fmt: skip

    async def listen(self, next: Listen, exchange: Exchange) -> Replies:
        talk, number = self.backlog.talk(exchange.session), self.backlog.number(exchange)
        n = self.backlog.note(talk, "c2s", self.leg, "open", exchange=number, stream=f"g{number}", verb="GET" if exchange.headers else None, headers=exchange.headers)
        try:
            await self.room()
            replies = await next(exchange)
        except BaseException as error:
            self.failed(talk, exchange, error, n)
            raise
        return Recorded(Taped(self, talk, exchange, n), replies, f"g{number}")

    async def end(self, next: End, exchange: Exchange) -> None:
        talk = self.backlog.talk(exchange.session)
        n = self.backlog.note(talk, "c2s", self.leg, "end", verb="DELETE" if exchange.headers else None, headers=exchange.headers or None)
        try:
            await next(exchange)
        except BaseException as error:
            self.failed(talk, exchange, error, n)
            raise

    # ------------------------------------------------ what did not come through the onion
    def aside(self, exchange: Exchange, said: Said) -> None:
        """Only the client hears, says or does this."""
        if self.leg == "server" or exchange.number < 0:
            return
        self.backlog.settle()
        talk, number = self.backlog.talk(exchange.session), exchange.number or None
        if isinstance(said, Left):
            self.backlog.note(talk, "c2s", self.leg, "left", exchange=number, stream=f"x{number}", re=exchange.asked or None)
        elif not isinstance(said, Message):
            self._told(talk, exchange, said)
        elif said.is_response:
            self.backlog.note(talk, "s2c", self.leg, "response", said.encode(), exchange=number, stream=f"x{number}", id=said.id, re=exchange.asked or None)
            exchange.number = -exchange.number
        else:
            self._tell(talk, exchange, said)

    def _told(self, talk: Talk, exchange: Exchange, error: Exception) -> None:
        if not exchange.number and exchange.request.members:  # refused before it came here
            exchange.asked = self._ask(exchange) if exchange.request.is_request else self._tell(talk, exchange, exchange.request)
        self.failed(talk, exchange, error, exchange.asked or None)

    def failed(self, talk: Talk, exchange: Exchange, error: BaseException, n: int | None) -> None:
        """What the client gets instead of a response; or, cancelled, that it gave up."""
        leg, number = self.leg, exchange.number or None
        if isinstance(error, Exception):
            self._refused(talk, exchange, SpecError(400, error.code, str(error)) if isinstance(error, BadMessage) else error, n)
        elif leg == "server" or _by_client(error):
            self.backlog.note(talk, "c2s", leg, "cancelled", exchange=number, re=n)
        else:
            return  # the proxy will say itself what the client is told
        if leg != "server":
            exchange.number = -exchange.number or -1

    def _ask(self, exchange: Exchange) -> int:
        backlog, request = self.backlog, exchange.request
        asked = Passed(backlog.now(), self.leg, exchange, request.encode(), request.method, request.id, request.array)
        backlog.passed(asked)
        return backlog.n(asked)

    def _refused(self, talk: Talk, exchange: Exchange, error: Exception, n: int | None) -> None:
        """As an HTTP answer, or as the last event of a stream that has begun."""
        more: dict[str, Any] = {"exchange": exchange.number or None, "re": n, "error": getattr(error, "name", type(error).__name__), "data": None}
        streamed = exchange.streamed or exchange.as_event
        if isinstance(error, ProxyError) and exchange.headers is not None and not streamed:
            more.update(status=error.http_status, headers=error.headers())
        elif streamed:
            more["stream"] = f"x{exchange.number}"
        if isinstance(error, UpstreamAnswered) and "status" in more:
            more.update(headers=error.fields, text=error.body.decode("utf-8", "replace"))
        elif isinstance(error, ProxyError):
            more.update(data=error_reply(exchange.id, error.rpc_code, error.message, error.payload()).encode(), id=exchange.id)
        else:
            more["text"] = str(error)
        self.backlog.note(talk, "s2c", self.leg, "refusal", **more)


class Taped:
    """One exchange's way back."""

    __slots__ = ("_exchange", "_first", "_n", "_talk", "side")

    def __init__(self, side: Side, talk: Talk, exchange: Exchange, n: int) -> None:
        self.side, self._talk, self._exchange, self._n = side, talk, exchange, n
        self._first = exchange.headers is not None

    def whole(self, reply: Message) -> Message:
        self.note(reply, f"x{self._exchange.number}" if self._exchange.as_event else None)
        return reply

    def streaming(self, replies: Replies) -> Recorded:
        exchange = self._exchange
        exchange.streamed = True
        self._talk.stream(self.side.leg, _key(exchange.request), self._n)
        return Recorded(self, replies, f"x{exchange.number}")

    def note(self, item: Message | Event, stream: str | None) -> None:
        """A message to the client. The first of an answer tells its status and fields."""
        exchange, backlog, leg = self._exchange, self.side.backlog, self.side.leg
        status, headers = self._envelope()
        if not isinstance(item, Message):
            backlog.note(self._talk, "s2c", leg, "event", exchange=exchange.number, stream=stream, status=status, headers=headers, event_id=item.id,
                          event=item.event, retry=item.retry, text=item.data.decode("utf-8", "replace") or None, comment=item.comment)  # fmt: skip
            return
        kind: Kind = "response" if item.is_response else "request" if item.is_request else "notification"
        n = backlog.note(self._talk, "s2c", leg, kind, item.encode(), exchange=exchange.number, stream=stream, method=item.method, id=item.id,
                          re=self._asked(item, stream) if kind == "response" else None, status=status, headers=headers, event_id=item.event_id, retry=item.retry, array=item.array)  # fmt: skip
        if kind == "request":
            self._talk.ask(leg, _key(item), n)
        elif kind == "response" and exchange.request.method in _HELLO:
            self._about(item)

    def _asked(self, reply: Message, stream: str | None) -> int | None:
        """The number of the request that this answers: a GET stream may resume the one that began with it."""
        if stream is None or stream[0] != "g":
            return self._n
        return self._talk.streaming.get((self.side.leg, _key(reply)))

    def _envelope(self) -> tuple[int | None, Headers | None]:
        if not self._first:
            return None, None
        self._first = False
        return self._exchange.status, self._exchange.reply_headers

    def close(self, stream: str, error: BaseException | None) -> None:
        """A stream ended otherwise than by its response."""
        exchange, side = self._exchange, self.side
        if exchange.number < 0:
            return  # its client was told the end already
        if error is None or (stream[0] == "g" and side.leg != "server" and isinstance(error, BaseException) and not isinstance(error, Exception) and not _by_client(error)):
            side.backlog.note(self._talk, "s2c", side.leg, "close", exchange=exchange.number, stream=stream)
        else:
            side.failed(self._talk, exchange, error, self._n)

    def _about(self, reply: Message) -> None:
        """Of the server: its era, its name, the revision that was agreed on. Looked up in copies: what crosses stays as it is."""
        result, exchange = _object(reply.members.get("result")), self._exchange
        if not result:
            return
        server, version = result.get("serverInfo"), result.get("protocolVersion")
        if exchange.era == "modern":
            server = _object(result.get("_meta")).get(_SERVER_INFO, server)
            version = _object(_object(exchange.request.members.get("params")).get("_meta")).get(META_VERSION)
        known = {"era": exchange.era, "server": server, "protocolVersion": version}
        self.side.backlog.note(self._talk, "s2c", self.side.leg, "about", encode({name: value for name, value in known.items() if value is not None}))


class Recorded:
    """The replies of an exchange, noted as they are pulled."""

    __slots__ = ("_ended", "_replies", "_stream", "_taped")

    def __init__(self, taped: Taped, replies: Replies, stream: str) -> None:
        self._taped, self._replies, self._stream = taped, replies, stream
        self._ended = False
        taped._exchange.on_leave(self._left)

    def _end(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            self._taped.close(self._stream, error)

    def _left(self) -> None:
        """The exchange is over; if its stream is not, its client wanted no more of it, or the proxy has ended it."""
        error = sys.exception()
        self._end(error if isinstance(error, trio.Cancelled) else _Left())

    @property
    def ready(self) -> bool:
        return bool(getattr(self._replies, "ready", False))

    @property
    def over(self) -> bool:
        return bool(getattr(self._replies, "over", False))

    def __aiter__(self) -> Recorded:
        return self

    async def __anext__(self) -> Message | Event:
        try:
            item = await self._replies.__anext__()
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._taped.note(item, self._stream)
        self._ended = isinstance(item, Message) and item.is_response and self._stream[0] == "x"
        if (side := self._taped.side).backlog.complete:
            await side.room()
        return item


class _Left(BaseException):
    """In place of a cancellation: nobody pulls the rest."""


def _by_client(error: BaseException) -> bool:
    """Whether a cancellation is the client's doing. Who cancels on its word says so, or says nothing, as when its connection is gone."""
    if isinstance(error, trio.Cancelled):
        return error.source == "explicit" and (error.reason or "the client").startswith("the client")
    return isinstance(error, _Left)


def _object(value: object) -> Mapping[str, Any]:
    """The members of a JSON object, raw or decoded already; nothing of anything else."""
    if isinstance(value, Raw):
        try:
            value = msgspec.json.decode(value, type=dict[str, Raw])
        except (msgspec.MsgspecError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _key(message: Message) -> bytes:
    try:
        return key_of(message.members["id"])
    except (BadMessage, KeyError, TypeError):
        return b""
