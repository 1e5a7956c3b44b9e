"""A batch of 2025-03-26: split here, each message an exchange of its own, the answers fanned into one event stream.

In: the exchanges of one array. Out: 202 if nothing of it wants an answer, else events in the order in which they come (basic/transports.mdx of
2025-03-26 allows both JSON and a stream; a stream cannot deadlock on a request that the server sends in between).
Owns one nursery per batch, which ends with it.
"""
from __future__ import annotations

from typing import TypeAlias

import trio

from shadowproxy.config import Timeouts
from shadowproxy.connection import PeerGone
from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send
from shadowproxy.downstream.stream import Stream
from shadowproxy.errors import ProxyError, SpecError
from shadowproxy.exchange import Exchange, Left
from shadowproxy.gateway import Gateway
from shadowproxy.wire.jsonrpc import BadMessage, Message, key_of
from shadowproxy.wire.sse import Event

WAITING = 16
"""Messages that may wait for a slow client before the exchanges of the batch wait too."""


Item: TypeAlias = "tuple[Exchange, Message | Event]"


class Batch(Stream):
    """The stream that answers one batch; `whole` is the exchange of all of it. Like every stream it has comments while it is silent and a last
    word at shutdown; what has a deadline, pushed by progress, is each of its requests."""

    __slots__ = ("_gateway", "_notifications", "_open")

    def __init__(self, send: Send, whole: Exchange, timeouts: Timeouts, gateway: Gateway, exchanges: list[Exchange]) -> None:
        super().__init__(send, whole, timeouts, gateway.aside)
        self._gateway = gateway
        self._notifications = [exchange for exchange in exchanges if not exchange.request.is_request]
        self._open = {exchange: None for exchange in exchanges if exchange.request.is_request}  # not answered yet, in order

    async def notify(self) -> bool:
        """Send what expects nothing back; True if that was all."""
        for exchange in self._notifications:
            with exchange:
                await self._gateway.notify(exchange)
        return not self._open

    async def answer(self) -> None:
        if self.limit is not None:
            self.limit.extend(float("inf"))
        await answer.start_events(self._send)
        self._begun = True
        await answer.flush(self._send)
        self._care()
        inbox, outbox = trio.open_memory_channel[Item](WAITING)
        async with trio.open_nursery() as members:
            for exchange in self._open:
                members.start_soon(self._member, exchange, inbox.clone())
            inbox.close()
            whole = await self._pass_on(outbox)
        if not whole:
            raise PeerGone("the client left before its batch was answered")
        await answer.end_events(self._send)

    async def _member(self, exchange: Exchange, inbox: trio.MemorySendChannel[Item]) -> None:
        timeouts = self._timeouts
        latest = trio.current_time() + timeouts.request_max
        with inbox:
            exchange.as_event = True
            try:
                key_of(exchange.request.members["id"])
                with trio.fail_after(timeouts.request) as limit, exchange:
                    reply = await self._gateway.call(exchange)
                    if isinstance(reply, Message):
                        await inbox.send((exchange, reply))
                    else:
                        async for item in reply:
                            await inbox.send((exchange, item))
                            if isinstance(item, Message):
                                limit.deadline = min(trio.current_time() + timeouts.request, latest)
            except trio.TooSlowError:
                await inbox.send((exchange, self._fault(exchange, answer.too_late(timeouts.request))))
            except (ProxyError, BadMessage) as error:
                await inbox.send((exchange, self._fault(exchange, error)))

    def _fault(self, exchange: Exchange, error: ProxyError | BadMessage) -> Message:
        self._aside(exchange, error)
        return answer.error_message(SpecError(400, error.code, str(error)) if isinstance(error, BadMessage) else error, exchange.id)

    async def _pass_on(self, outbox: trio.MemoryReceiveChannel[Item]) -> bool:
        """Everything as events. False if the client has left; the rest is awaited all the same (2025-03-26: disconnection is no cancellation)."""
        there = True
        async for exchange, item in outbox:
            try:
                if isinstance(item, Message) and item.is_response:
                    self._open.pop(exchange, None)
                if there:
                    await answer.send_event(self._send, item)
            except PeerGone:
                there = False
                self._aside(exchange, Left())
        return there

    async def refuse(self, error: ProxyError) -> None:
        """What is not answered yet, is answered with this."""
        for exchange in self._open:
            await answer.send_event(self._send, self._fault(exchange, error))
        await answer.end_events(self._send)
