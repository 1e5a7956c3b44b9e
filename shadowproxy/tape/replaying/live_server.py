"""The live server behind a tape: what is not on the tape is asked there.

In: exchanges that the tape has no answer for. Out: the live server's replies. A legacy server must have been greeted first: with the client's own
`initialize`, when the first of its session's requests comes here; the client never sees that answer, it has the recorded one. What a legacy server says
unasked is carried to a client that listens, from then on, by a task in the nursery that is given. What it opens for a session is given back when that ends.
"""
from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Protocol

import trio

from shadowproxy.errors import SessionMissing, UpstreamBroken
from shadowproxy.exchange import NOTHING, Call, Exchange, Listen, Notify, Replies, Reply, Session, Upstream
from shadowproxy.tape.replaying.live_stream import LiveStream
from shadowproxy.wire.eras import LEGACY_VERSIONS
from shadowproxy.wire.jsonrpc import Message, text_of

_INITIALIZED: Final = "notifications/initialized"
OPENING: Final = 1.0
"""Seconds that the first request waits for the live server's own stream to open: what it says there meanwhile would be lost."""


class Appending(Protocol):
    """An interceptor that puts on the tape what passes; `belongs` says to which recorded session that of a live one is added."""

    def belongs(self, session: Session, name: str | None) -> None: ...
    async def call(self, next: Call, exchange: Exchange) -> Reply: ...
    async def notify(self, next: Notify, exchange: Exchange) -> None: ...
    async def listen(self, next: Listen, exchange: Exchange) -> Replies: ...


class LiveServer:
    def __init__(self, upstream: Upstream, nursery: trio.Nursery, appending: Appending | None = None) -> None:
        self._upstream, self._nursery, self._appending = upstream, nursery, appending
        self._listening: dict[Session, LiveStream] = {}  # the live client's: its newest stream
        self._sessions: dict[Session, Session] = {}  # the live client's: ours with the server
        self._greetings: dict[Session, Message] = {}
        self._greeting = trio.Lock()

    def greeted(self, exchange: Exchange) -> None:
        """The client's `initialize`, which the tape has answered: kept for when it is needed."""
        session = exchange.session
        if session is not None:
            if session not in self._greetings:
                session.on_leave(self._forget, session)
            self._greetings[session] = exchange.request

    async def call(self, exchange: Exchange, name: str | None) -> Reply:
        """`name`: of the recorded session that this client's is answered from. Raises `ProxyError`."""
        session = None if exchange.session is None else await self._session(exchange, exchange.session, name)
        ours = Exchange(exchange.request, exchange.era, session, exchange.headers)
        exchange.on_leave(ours.leave)
        reply = await self._ask(ours)
        exchange.status, exchange.as_event, exchange.reply_headers = ours.status, ours.as_event, ours.reply_headers
        return reply

    async def notify(self, exchange: Exchange) -> None:
        """The live server hears only of a session in which it was asked something."""
        session = None if exchange.session is None else self._sessions.get(exchange.session)
        if session is not None:
            with Exchange(exchange.request, exchange.era, session, exchange.headers) as ours:
                await (self._upstream.notify(ours) if self._appending is None else self._appending.notify(self._upstream.notify, ours))

    def listen(self, exchange: Exchange, session: Session) -> LiveStream:
        """What its client hears of the live server from now on, or from when it is first asked."""
        stream = LiveStream(exchange.headers)
        if (older := self._listening.get(session)) is not None:
            older.stop("a newer listener has come in its place")
        self._listening[session] = stream
        exchange.on_leave(self._silence, session, stream)
        ours = self._sessions.get(session)
        if ours is not None and not ours.ended:
            stream.begin(self._nursery, self._listen, ours)
        return stream

    async def end(self, session: Session) -> None:
        """Say farewell, if it was ever asked anything."""
        ours = self._sessions.get(session)
        if ours is not None:
            with Exchange(NOTHING, "legacy", ours, None) as exchange:
                await self._upstream.end(exchange)

    def _ask(self, exchange: Exchange) -> Awaitable[Reply]:
        return self._upstream.call(exchange) if self._appending is None else self._appending.call(self._upstream.call, exchange)

    def _listen(self, exchange: Exchange) -> Awaitable[Replies]:
        return self._upstream.listen(exchange) if self._appending is None else self._appending.listen(self._upstream.listen, exchange)

    def _silence(self, session: Session, stream: LiveStream) -> None:
        stream.stop("its client has left")
        if self._listening.get(session) is stream:
            del self._listening[session]

    def _forget(self, session: Session) -> None:
        self._greetings.pop(session, None)
        ours = self._sessions.pop(session, None)
        if ours is not None:
            ours.end()

    async def _session(self, exchange: Exchange, session: Session, name: str | None) -> Session:
        """Our session with the server, begun when it is first needed."""
        async with self._greeting:
            ours = self._sessions.get(session)
            if ours is None or ours.ended:
                greeting = self._greetings.get(session)
                if greeting is None:
                    raise SessionMissing("this request is not on the tape, and the live server was not greeted: send initialize first")
                ours = self._sessions[session] = await self._greet(greeting, exchange)
                if self._appending is not None:
                    self._appending.belongs(ours, name)
                if (stream := self._listening.get(session)) is not None:
                    with trio.move_on_after(OPENING):
                        await stream.begin(self._nursery, self._listen, ours).wait()
        return ours

    async def _greet(self, greeting: Message, exchange: Exchange) -> Session:
        session = Session(b"live")
        try:
            with Exchange(greeting, "legacy", session, exchange.headers) as hello:
                answer = await _response(await self._upstream.call(hello))
            if "error" in answer.members:
                raise UpstreamBroken("the live server refused the initialize of this client, so what is not on the tape cannot be asked there")
            session.version = text_of(answer.result().get("protocolVersion", b"")) or LEGACY_VERSIONS[-1]
            with Exchange(Message.make(method=_INITIALIZED), "legacy", session, exchange.headers) as note:
                await self._upstream.notify(note)
        except BaseException:
            session.end()
            raise
        return session


async def _response(reply: Reply) -> Message:
    if isinstance(reply, Message):
        return reply
    async for item in reply:
        if isinstance(item, Message) and item.is_response:
            return item
    raise UpstreamBroken("the live server did not answer initialize")
