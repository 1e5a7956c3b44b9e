"""An upstream that is a plain Python object: it does what its test says, and remembers what it was asked.

In: functions for the four verbs. Out: an `Upstream` for the gateway. It owns no task; what is still open is known by `open`, which exchanges
leave by `on_leave` as they would leave a real one.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio
from dialogue import Json, message

from shadowproxy.exchange import Exchange, Replies, Reply
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

OnCall: TypeAlias = Callable[[Exchange], Awaitable[Reply]]
OnListen: TypeAlias = Callable[[Exchange], Awaitable[Replies]]


async def echo(exchange: Exchange) -> Message:
    """A result that says which request it answers."""
    await trio.lowlevel.checkpoint()
    return answer_to(exchange)


async def hang(exchange: Exchange) -> Message:
    """No answer, ever."""
    await trio.sleep_forever()
    raise AssertionError


async def nothing(exchange: Exchange) -> None:
    await trio.lowlevel.checkpoint()


def after(seconds: float) -> OnCall:
    """The echo, but not at once."""

    async def call(exchange: Exchange) -> Message:
        await trio.sleep(seconds)
        return answer_to(exchange)

    return call


def failing(error: Exception) -> OnCall:
    async def call(exchange: Exchange) -> Message:
        await trio.lowlevel.checkpoint()
        raise error

    return call


def answer_to(exchange: Exchange, **result: object) -> Message:
    """The response to this request, its id as it came."""
    made = message(id=0, result={"of": exchange.request.method, **result})
    made.members["id"] = exchange.id
    return made


def note(method: str = "notifications/progress", **params: object) -> Message:
    return message(method=method, params=params)


class Feed:
    """A stream of replies that a test feeds by hand; `Replies` for who pulls. It ends with `end`, or with an error given to `put`."""

    def __init__(self, *items: Message | Event | Exception, ended: bool = False) -> None:
        self._send, self._receive = trio.open_memory_channel[Message | Event | Exception](1000)
        self.put(*items)
        if ended:
            self.end()

    def put(self, *items: Message | Event | Exception) -> None:
        for item in items:
            self._send.send_nowait(item)

    def end(self) -> None:
        self._send.close()

    @property
    def waiting(self) -> int:
        """How many nobody has taken yet."""
        return self._receive.statistics().current_buffer_used

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Message | Event:
        try:
            item = await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        if isinstance(item, Exception):
            raise item
        return item


def feeding(feed: Feed) -> Callable[[Exchange], Awaitable[Feed]]:
    """For `on_call` and `on_listen`."""

    async def give(exchange: Exchange) -> Feed:
        await trio.lowlevel.checkpoint()
        return feed

    return give


class FakeUpstream:
    def __init__(self, on_call: OnCall = echo) -> None:
        self.on_call = on_call
        self.on_notify: Callable[[Exchange], Awaitable[None]] = nothing
        self.on_listen: OnListen = feeding(Feed())
        self.on_end: Callable[[Exchange], Awaitable[None]] = nothing
        self.calls: list[Exchange] = []
        self.notes: list[Exchange] = []
        self.listeners: list[Exchange] = []
        self.ends: list[Exchange] = []
        self.cancelled: list[Exchange] = []
        self.open: set[Exchange] = set()

    def _enter(self, exchange: Exchange) -> None:
        self.open.add(exchange)
        exchange.on_leave(self.open.discard, exchange)

    async def call(self, exchange: Exchange) -> Reply:
        self.calls.append(exchange)
        self._enter(exchange)
        try:
            return await self.on_call(exchange)
        except trio.Cancelled:
            self.cancelled.append(exchange)
            raise

    async def notify(self, exchange: Exchange) -> None:
        self.notes.append(exchange)
        await self.on_notify(exchange)

    async def listen(self, exchange: Exchange) -> Replies:
        self.listeners.append(exchange)
        self._enter(exchange)
        return await self.on_listen(exchange)

    async def end(self, exchange: Exchange) -> None:
        self.ends.append(exchange)
        await self.on_end(exchange)

    @property
    def methods(self) -> list[str | None]:
        """What was called, in order."""
        return [exchange.request.method for exchange in self.calls]


def result_of(reply: Json) -> Json:
    """The result of a response; a failure shows the error."""
    assert "result" in reply, reply
    found: Json = reply["result"]
    return found
