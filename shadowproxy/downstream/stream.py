"""What the client of one exchange is answered with, once: JSON, events, or a refusal; and what it is told when its time is up.

In: a reply, or a failure. Out: ASGI events. Owns no task on our own server, whose connection lends its scope (`shadowproxy.limit`);
where none is lent, `within_own_limit` runs the exchange in one of its own (`own_limit.py`), which has a nursery.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import trio

from shadowproxy.config import Timeouts
from shadowproxy.connection import PeerGone
from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send
from shadowproxy.downstream.own_limit import OwnLimit, UnderWay
from shadowproxy.errors import Overloaded, ProxyError, UpstreamAnswered
from shadowproxy.exchange import Aside, Exchange, Left, Replies, Said
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import KEEP_ALIVE


class Limit(Protocol):
    """The deadline of an exchange under way, and the care for its silent stream."""

    def extend(self, seconds: float) -> None: ...
    def stand(self, every: float, comment: bytes) -> None: ...
    def keep_quiet_alive(self, every: float, comment: bytes) -> None: ...


def _nobody(exchange: Exchange, said: Said) -> None:
    pass


class Stream:
    """Set `limit` before the first use. `aside` is told what its client is told in the proxy's own words."""

    __slots__ = ("_aside", "_begun", "_cared", "_last", "_send", "_timeouts", "exchange", "limit")

    def __init__(self, send: Send, exchange: Exchange, timeouts: Timeouts, aside: Aside = _nobody) -> None:
        self._send, self.exchange, self._timeouts, self._aside = send, exchange, timeouts, aside
        self._begun = self._cared = False
        self._last = 0.0  # how long progress may push the deadline
        self.limit: Limit | None = None

    async def whole(self, reply: Message) -> None:
        """The response alone; as an event if it came as one."""
        exchange = self.exchange
        send = answer.send_as_event if exchange.as_event else answer.send_json
        await send(self._send, exchange.status, reply, answer.extra_of(exchange))

    async def refuse(self, error: ProxyError) -> None:
        """The failure as the whole answer, or as the last event of a stream that has begun."""
        self._aside(self.exchange, error)
        if not self._begun:
            return await answer.refuse(self._send, error, self.exchange.id)
        if self.exchange.id is not None:
            await answer.send_event(self._send, answer.error_message(error, self.exchange.id))
        await answer.end_events(self._send)

    async def passed(self, error: UpstreamAnswered) -> None:
        if self._begun:
            return await self.refuse(error)
        self._aside(self.exchange, error)
        await answer.send_body(self._send, error.http_status, error.body, error.fields)

    async def events(self, replies: Replies) -> None:
        """Every message as an event, the response last. A legacy client's leaving does not end the exchange, a modern one's does."""
        standing = self.exchange.request.method == "subscriptions/listen"
        if not standing:
            self._last = trio.current_time() + self._timeouts.request_max
        try:
            await self._begin(replies)
            if standing:
                self._stand()
            if await self._pump(replies):
                return
        except PeerGone:
            if self.exchange.era == "modern":
                raise
            self._aside(self.exchange, Left())
            async for _ in replies:  # noqa: ASYNC120 - cancelled, there is nobody left to tell; disconnection is no cancellation (2025-11-25, basic/transports.mdx)
                self._extend()
            raise
        await answer.end_events(self._send)

    async def standing(self, replies: Replies) -> None:
        """A GET stream: until the server, the client or the proxy ends it."""
        await self._begin(replies)
        self._stand()
        async for item in replies:
            await answer.send_event(self._send, item)
        await answer.end_events(self._send)

    async def _begin(self, replies: Replies) -> None:
        await answer.start_events(self._send, answer.extra_of(self.exchange))
        self._begun = True
        if not getattr(replies, "ready", False):
            await answer.flush(self._send)
            self._care()

    def _care(self) -> None:
        """From now on the stream may be silent for a while."""
        if self.limit is not None and not self._cared:
            self._cared = True
            self.limit.keep_quiet_alive(self._timeouts.keep_alive, KEEP_ALIVE)

    def _stand(self) -> None:
        if self.limit is not None:
            self.limit.stand(self._timeouts.keep_alive, KEEP_ALIVE)

    async def _pump(self, replies: Replies) -> bool:
        """Whether the end went out with the last event, as it does when the upstream's has come already."""
        async for item in replies:
            last = getattr(replies, "over", False)
            await answer.send_event(self._send, item, last=last)
            if last:
                return True
            self._care()
            if isinstance(item, Message):
                self._extend()
        return False

    def _extend(self) -> None:
        """A message came: that is progress, which a comment is not."""
        if self._last and self.limit is not None:
            self.limit.extend(min(self._timeouts.request, self._last - trio.current_time()))

    async def late(self, reason: str) -> None:
        """In place of the answer that did not come: `reason` is deadline, drain or shutdown."""
        if reason == "drain" and self._begun:
            if self.exchange.request.method == "subscriptions/listen":
                end = answer.end_of_subscription(self.exchange)
                self._aside(self.exchange, end)
                await answer.send_event(self._send, end)
            return await answer.end_events(self._send)
        if reason == "deadline":
            return await self.refuse(answer.too_late(self._timeouts.request))
        await self.refuse(Overloaded("shadowproxy is shutting down; the request was not finished"))


async def within_own_limit(run: Callable[[Stream], Awaitable[None]], stream: Stream, receive: Callable[[], Awaitable[dict[str, Any]]], seconds: float,
                           cancel_when_gone: bool, under_way: UnderWay | None) -> None:  # fmt: skip
    """Run it where no limit is lent."""
    limit = OwnLimit(seconds, stream._send, under_way)
    stream.limit, stream._send = limit, limit.send
    await limit.around(partial(run, stream), stream.late, receive, cancel_when_gone)
