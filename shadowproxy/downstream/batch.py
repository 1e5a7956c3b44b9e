"""A batch of 2025-03-26: split here, each message an exchange of its own, the answers fanned into one event stream.

In: the exchanges of one array. Out: 202 if nothing of it wants an answer, else events in the order in which they come (basic/transports.mdx of
2025-03-26 allows both JSON and a stream; a stream cannot deadlock on a request that the server sends in between).
Owns one nursery per batch, which ends with it.
"""
from __future__ import annotations

import trio

from shadowproxy.connection import PeerGone
from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send
from shadowproxy.errors import ProxyError, SpecError, UpstreamTimeout
from shadowproxy.exchange import Exchange
from shadowproxy.gateway import Gateway
from shadowproxy.wire.jsonrpc import BadMessage, Message, key_of
from shadowproxy.wire.sse import Event

WAITING = 16
"""Messages that may wait for a slow client before the exchanges of the batch wait too."""


class Batch:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, exchanges: list[Exchange], send: Send, seconds: float) -> None:
        """`seconds` is the deadline of the whole batch."""
        requests = [exchange for exchange in exchanges if exchange.request.is_request]
        for exchange in exchanges:
            if not exchange.request.is_request:
                with exchange:
                    await self._gateway.notify(exchange)
        if not requests:
            return await answer.send_body(send, 202, b"", ())
        await answer.start_events(send)
        inbox, outbox = trio.open_memory_channel[Message | Event](WAITING)
        async with trio.open_nursery() as members:
            for exchange in requests:
                members.start_soon(self._member, exchange, inbox.clone(), seconds)
            inbox.close()
            whole = await _pass_on(outbox, send)
        if not whole:
            raise PeerGone("the client left before its batch was answered")
        await answer.end_events(send)

    async def _member(self, exchange: Exchange, inbox: trio.MemorySendChannel[Message | Event], seconds: float) -> None:
        with inbox:
            try:
                key_of(exchange.request.members["id"])
                with trio.fail_after(seconds), exchange:
                    reply = await self._gateway.call(exchange)
                    if isinstance(reply, Message):
                        await inbox.send(reply)
                    else:
                        async for item in reply:
                            await inbox.send(item)
            except trio.TooSlowError:
                await inbox.send(answer.error_message(UpstreamTimeout(f"no answer within {seconds:g} s"), exchange.id))
            except ProxyError as error:
                await inbox.send(answer.error_message(error, exchange.id))
            except BadMessage as error:
                await inbox.send(answer.error_message(SpecError(400, error.code, str(error)), exchange.id))


async def _pass_on(outbox: trio.MemoryReceiveChannel[Message | Event], send: Send) -> bool:
    """Everything as events. False if the client has left; the rest is awaited all the same (2025-03-26: disconnection is no cancellation)."""
    there = True
    async for item in outbox:
        try:
            if there:
                await answer.send_event(send, item)
        except PeerGone:
            there = False
    return there
