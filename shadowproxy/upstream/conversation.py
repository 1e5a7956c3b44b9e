"""A legacy client's conversation with a child of its own.

In: the session's exchanges and notifications. Out: replies, and one stream of what the server sends unasked.
Owns no task: the link's reader calls `route`, synchronously, the client's tasks call the rest. Ended by ending the session.

Whose is a message that the server sends unasked? stdio does not say. A request or a log line belongs to the only exchange in flight, else to the
GET stream, else to the newest exchange; a change notification to the GET stream. Never to another session.
"""
from __future__ import annotations

import logging

from shadowproxy.config import Limits
from shadowproxy.exchange import Exchange, Replies, Reply
from shadowproxy.upstream.peer import Peer
from shadowproxy.upstream.slot import Slot
from shadowproxy.wire.jsonrpc import BadMessage, Message, key_of

log = logging.getLogger("shadowproxy")

ASKED = 1000
"""Requests of the server that may wait for the client's answer at once."""
_OF_AN_EXCHANGE = ("notifications/message", "notifications/cancelled")


class Mailbox:
    """What waits for a session's one stream of unasked messages, whether anybody listens or not; the oldest makes room for the newest."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slot = self._new()
        self.listening = False
        self.dropped = 0

    def _new(self) -> Slot:
        return Slot(None, self._limits.events, self._limits.buffer)

    def open(self, exchange: Exchange) -> Replies:
        """Listen until `exchange` is left. A newer listener takes over from an older, whose client may be long gone."""
        if self.listening:
            old, self._slot = self._slot, self._new()
            self._slot.take_over(old)
            old.close()
        self.listening = True
        exchange.on_leave(self._unheard, self._slot)
        return self._slot

    def _unheard(self, slot: Slot) -> None:
        if slot is self._slot:
            self.listening = False
            self._slot = self._new()

    def post(self, message: Message, size: int) -> None:
        while self._slot.full(size) and self._slot.drop_oldest():
            self.dropped += 1
        self._slot.put(message, size)

    def close(self) -> None:
        self._slot.close()


class Conversation:
    def __init__(self, link: Peer, limits: Limits) -> None:
        self.link = link
        self.mailbox = Mailbox(limits)
        self._asked: set[bytes] = set()
        link.unasked = self.route

    async def call(self, exchange: Exchange) -> Reply:
        return await self.link.call(exchange)

    async def notify(self, exchange: Exchange) -> None:
        """The client's notification, or its answer to a request of the server; an answer that nobody asked for is dropped."""
        message = exchange.request
        if message.is_response:
            key = key_of(message.members["id"]) if message.id is not None else b""
            if key not in self._asked:
                log.info("the client answered a request that the server has not sent; dropped", extra={"id": repr(key[:64])})
                return
            self._asked.discard(key)
        elif message.method == "notifications/cancelled":
            wire = self.link.cancel_by_client(message, exchange.session)
            if wire is None:
                return
            message = wire
        await self.link.send(message)

    def listen(self, exchange: Exchange) -> Replies:
        """The one stream of this session."""
        return self.mailbox.open(exchange)

    def route(self, message: Message, size: int) -> None:
        """Called by the link's reader for every message that no exchange asked for by name."""
        if message.is_request:
            self._note(message)
        waiting = self.link.waiting
        for_exchange = message.is_request or message.method in _OF_AN_EXCHANGE
        if for_exchange and len(waiting) == 1:
            next(iter(waiting.values())).put(message, size)
        elif for_exchange and waiting and not self.mailbox.listening:
            next(reversed(waiting.values())).put(message, size)
        else:
            self.mailbox.post(message, size)

    def _note(self, message: Message) -> None:
        try:
            if len(self._asked) < ASKED:
                self._asked.add(key_of(message.members["id"]))
        except BadMessage:
            pass  # it goes its way; no answer can come back

    def close(self) -> None:
        """The session has ended."""
        self.mailbox.close()
        self.link.abort()
