"""What the client of one exchange is answered with, once: JSON, events, or a refusal; and what it is told when its time is up.

In: a reply, or a failure. Out: ASGI events. Owns no task on our own server, whose connection lends its scope (`shadowproxy.limit`);
on another server `within_own_limit` opens one nursery for the exchange: its scope, a reader that notices the client's leaving, a keep-alive.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from shadowproxy.config import Timeouts
from shadowproxy.connection import PeerGone
from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send
from shadowproxy.errors import Overloaded, ProxyError, UpstreamAnswered, UpstreamTimeout
from shadowproxy.exchange import Exchange, Replies
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import KEEP_ALIVE


class Limit(Protocol):
    """The deadline of an exchange under way, and the care for its silent stream."""

    def extend(self, seconds: float) -> None: ...
    def stand(self, every: float, comment: bytes) -> None: ...
    def keep_quiet_alive(self, every: float, comment: bytes) -> None: ...


class Stream:
    """Set `limit` before the first use."""

    __slots__ = ("_begun", "_cared", "_last", "_send", "_timeouts", "exchange", "limit")

    def __init__(self, send: Send, exchange: Exchange, timeouts: Timeouts) -> None:
        self._send, self.exchange, self._timeouts = send, exchange, timeouts
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
        if not self._begun:
            return await answer.refuse(self._send, error, self.exchange.id)
        if self.exchange.id is not None:
            await answer.send_event(self._send, answer.error_message(error, self.exchange.id))
        await answer.end_events(self._send)

    async def passed(self, error: UpstreamAnswered) -> None:
        if self._begun:
            return await self.refuse(error)
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
            self._extend()
        return False

    def _extend(self) -> None:
        """Something came: that is progress."""
        if self._last and self.limit is not None:
            self.limit.extend(min(self._timeouts.request, self._last - trio.current_time()))

    async def late(self, reason: str) -> None:
        """In place of the answer that did not come: `reason` is deadline, drain or shutdown."""
        if reason == "drain" and self._begun:
            if self.exchange.request.method == "subscriptions/listen":
                await answer.send_event(self._send, answer.end_of_subscription(self.exchange))
            return await answer.end_events(self._send)
        if reason == "deadline":
            return await self.refuse(UpstreamTimeout(
                f"no answer from the upstream within the request's deadline of {self._timeouts.request:g} s (timeouts.request, --request-timeout)"))  # fmt: skip
        await self.refuse(Overloaded("shadowproxy is shutting down; the request was not finished"))


class OwnLimit:
    """The limit of an exchange on a server that lends none."""

    def __init__(self, seconds: float, send: Send) -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self._send = send
        self._quiet: tuple[float, bytes] | None = None
        self._wanted = trio.Event()

    def extend(self, seconds: float) -> None:
        self.scope.deadline = trio.current_time() + seconds

    def stand(self, every: float, comment: bytes) -> None:
        self.scope.deadline = float("inf")
        self.keep_quiet_alive(every, comment)

    def keep_quiet_alive(self, every: float, comment: bytes) -> None:
        self._quiet = every, comment
        self._wanted.set()

    async def comments(self) -> None:
        """Every so often, whether quiet or not: on a foreign server nobody knows when the last event left."""
        await self._wanted.wait()
        while self._quiet is not None:
            every, comment = self._quiet
            await trio.sleep(every)
            if self._quiet is not None:
                await answer.flush(self._send, comment)

    async def send(self, event: dict[str, Any]) -> None:
        """What the exchange sends; its end is the end of the comments too, however long the client takes to read it."""
        if event["type"] == "http.response.body" and not event.get("more_body", False):
            self._quiet = None
        await self._send(event)


async def within_own_limit(run: Callable[[Stream], Awaitable[None]], stream: Stream, receive: Callable[[], Awaitable[dict[str, Any]]], seconds: float,
                           cancel_when_gone: bool) -> None:  # fmt: skip
    """Run it with a deadline, a watcher and keep-alives of its own; all of them end with it."""
    stream.limit = limit = OwnLimit(seconds, stream._send)
    stream._send = limit.send

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if cancel_when_gone:
            gone.set()
            limit.scope.cancel(reason="the client left")

    gone = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        nursery.start_soon(limit.comments)
        with limit.scope:
            await run(stream)
        nursery.cancel_scope.cancel(reason="the exchange is over")
    if limit.scope.cancelled_caught and not gone.is_set():
        await stream.late("deadline")
