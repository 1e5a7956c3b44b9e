"""The replies of one HTTP exchange that came as an event stream, pulled one by one.

In: an `Client` whose response is `text/event-stream`. Out: messages and bare events; it ends with the response.
Pull is the backpressure: the next upstream bytes are read when the last message was taken. Owns no task; its exchange holds the lease.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from shadowproxy.errors import UpstreamBroken
from shadowproxy.exchange import Exchange
from shadowproxy.upstream.batches import messages_of
from shadowproxy.upstream.http1 import Client
from shadowproxy.wire.jsonrpc import BadMessage, Message
from shadowproxy.wire.sse import Event, SseParser, TooLarge

END = 0.05
"""Seconds that the end of the body may lag behind the response; a server that keeps it open loses its connection, not the client's time."""
_REPLAYED_PRIMING: Final = b"{}"
"""What the TypeScript SDK sends, on a stream that is resumed, for an event that had an id and no data: it is no message, and ends nothing."""


class EventReplies:
    """`restore` gives a response its client's id back and raises `UpstreamBroken` for a foreign one. `exchange` says whether an event may hold a batch."""

    awaits_response = True
    __slots__ = ("_client", "_exchange", "_last", "_lost", "_parser", "_queue", "last_event_id", "restore", "retry")

    def __init__(self, client: Client, limit: int, restore: Callable[[Message], Message], exchange: Exchange | None = None) -> None:
        client.streaming = True
        self._client, self.restore, self._exchange = client, restore, exchange
        self._parser = SseParser(limit)
        self._queue: deque[Message | Event] = deque()
        self._last = False
        self._lost: UpstreamBroken | None = None
        self.last_event_id: bytes | None = None
        self.retry: int | None = None
        if client.waiting:
            self._parse()

    @property
    def ready(self) -> bool:
        """Whether the next item is here already."""
        return bool(self._queue)

    @property
    def over(self) -> bool:
        """Whether the last item has been taken and the body has ended, so that nothing more can come."""
        return self._last and self._client.complete

    @property
    def answered(self) -> bool:
        return self._last

    def whole(self) -> Message | None:
        """The response, if the stream has come to its end already and held nothing else."""
        if not self._client.complete or len(self._queue) != 1 or self._lost is not None:
            return None
        item = self._queue[0]
        return item if isinstance(item, Message) and item.is_response else None

    def __aiter__(self) -> EventReplies:
        return self

    async def __anext__(self) -> Message | Event:
        if self._last:
            await self._end()
            raise StopAsyncIteration
        while not self._queue:
            if self._lost is not None:
                raise self._lost
            if self._client.complete:
                if self.last_event_id is None:
                    raise UpstreamBroken("the upstream's stream ended without a response")
                raise StopAsyncIteration  # it may be resumed (2025-11-25, basic/transports.mdx, "Sending Messages to the Server", 6)
            await self._client.pull()
            self._parse()
        item = self._queue.popleft()
        if isinstance(item, Message) and item.is_response:
            self._last = True
            self._queue.clear()  # nothing belongs after the response
        return item

    def _parse(self) -> None:
        """What came before a fault still counts, however the bytes were cut: a response that is here is not lost to what follows it."""
        try:
            events: Sequence[Event] = self._parser.feed(self._client.take())
        except TooLarge as error:
            events = error.events
            self._lost = UpstreamBroken(f"an event of the upstream is too large: {error} (limits.message)")
        for event in events:
            if event.id is not None:
                self.last_event_id = event.id or None
            if event.retry is not None:
                self.retry = event.retry
            try:
                self._queue.append(self._message(event) if event.data else event)
            except UpstreamBroken as error:
                self._lost = error
                break

    def _message(self, event: Event) -> Message | Event:
        if event.event not in (b"", b"message") or event.data == _REPLAYED_PRIMING:
            return event
        try:
            message = Message.decode(event.data)
        except BadMessage as error:
            message = self._last_of_batch(event, error)
        message.event_id, message.retry = event.id, event.retry
        return self.restore(message) if message.is_response else message

    def _last_of_batch(self, event: Event, error: BadMessage) -> Message:
        """The messages of a batch go before the last of them, which alone has the event's id: who resumes from there has had them all."""
        try:
            if self._exchange is None:
                raise error
            *first, last = messages_of(event.data, self._exchange, error)
        except BadMessage as fault:
            raise UpstreamBroken(f"an event of the upstream is no JSON-RPC message: {fault}") from None
        self._queue.extend(self.restore(message) if message.is_response else message for message in first)
        return last

    async def _end(self) -> None:
        if self._client.complete:
            return
        try:
            with trio.move_on_after(END):  # noqa: ASYNC912 - entered only if the body has not ended
                while not self._client.complete:
                    await self._client.pull()
                    self._client.take()
        except UpstreamBroken:
            pass  # the connection is lost, and nothing else: the response is here


class StandingReplies(EventReplies):
    """A GET stream: it has no response to end with, so it ends with its body."""

    awaits_response = False
    __slots__ = ()

    async def __anext__(self) -> Message | Event:
        while not self._queue:
            if self._lost is not None:
                raise self._lost
            if self._client.complete:
                raise StopAsyncIteration
            await self._client.pull()
            self._parse()
        return self._queue.popleft()
