"""Show: an interceptor that tells each message as it passes, one line each.

In: exchanges. Out: the same exchanges, untouched, and a line per message to `tell`. Owns nothing.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from shadowproxy.exchange import Call, Exchange, Listen, Notify, Replies, Reply
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

WIDTH = 110
"""Characters of a message that are shown."""


class Show:
    """`tell(direction, text)`: direction is "-->" towards the server, "<--" towards the client."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell

    async def call(self, next: Call, exchange: Exchange) -> Reply:
        self._show("-->", exchange.request)
        reply = await next(exchange)
        if isinstance(reply, Message):
            self._show("<--", reply)
            return reply
        return self._passing(reply)

    async def notify(self, next: Notify, exchange: Exchange) -> None:
        self._show("-->", exchange.request)
        await next(exchange)

    async def listen(self, next: Listen, exchange: Exchange) -> Replies:
        return self._passing(await next(exchange))

    async def _passing(self, replies: Replies) -> AsyncIterator[Message | Event]:
        async for item in replies:
            if isinstance(item, Message):
                self._show("<--", item)
            yield item

    def _show(self, direction: str, message: Message) -> None:
        shown = message.encode().decode("utf-8", "replace")
        self._tell(direction, shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 1]}…")
