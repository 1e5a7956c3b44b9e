"""A legacy client's conversation with a child of its own.

In: the session's exchanges and notifications. Out: replies, and one stream of what the server sends unasked.
Owns no task: the link's reader calls `route`, synchronously, the client's tasks call the rest. Ended by ending the session.

Whose is a message that the server sends unasked? stdio does not say. A request or a log line belongs to the only exchange in flight, else to the
GET stream, else to the newest exchange; a change notification to the GET stream. Never to another session.
"""
from __future__ import annotations

import logging
from collections.abc import Callable

from shadowproxy.config import Limits
from shadowproxy.exchange import Exchange, Replies, Reply
from shadowproxy.upstream.peer import Peer
from shadowproxy.upstream.questions import SLOW, UNREAD, Questions
from shadowproxy.upstream.slot import Slot
from shadowproxy.wire.jsonrpc import Message

log = logging.getLogger("shadowproxy")

_OF_AN_EXCHANGE = ("notifications/message", "notifications/cancelled")


class Mailbox:
    """What waits for a session's one stream of unasked messages, whether anybody listens or not; the oldest makes room for the newest.

    `on_drop` is told what had to go.
    """

    def __init__(self, limits: Limits, on_drop: Callable[[Message], None] | None = None) -> None:
        self._limits, self._on_drop = limits, on_drop
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
            self._slot.take_over(slot)  # what nobody has read waits for the next

    def post(self, message: Message, size: int) -> None:
        while self._slot.full(size) and (oldest := self._slot.drop_oldest()) is not None:
            self.dropped += 1
            if self._on_drop is not None:
                self._on_drop(oldest)
        self._slot.put(message, size)

    def close(self) -> None:
        self._slot.close()


class Conversation:
    def __init__(self, link: Peer, limits: Limits) -> None:
        self.link = link
        self.questions = Questions(link)
        self.mailbox = Mailbox(limits, self._dropped)
        link.unasked, link.on_abandoned = self.route, self.questions.abandoned

    async def call(self, exchange: Exchange) -> Reply:
        return await self.link.call(exchange)

    async def notify(self, exchange: Exchange) -> None:
        """The client's notification, or its answer to a request of the server; an answer that nobody asked for is dropped."""
        message = exchange.request
        if message.is_response:
            id = message.id
            if id is None or not self.questions.answered(id):
                log.info("the client answered a request that does not wait for it (any more); dropped", extra={"id": repr(bytes(id or b"")[:64])})
                return
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
        slot = self._exchange_for(message)
        if message.is_request:
            self.questions.add(message, slot)
        elif message.method == "notifications/cancelled":
            self.questions.withdrawn(message)
        if slot is None:
            self.mailbox.post(message, size)
        elif not slot.put(message, size):
            self.questions.lost(message, SLOW)

    def _exchange_for(self, message: Message) -> Slot | None:
        """Where it goes if it goes to an exchange."""
        waiting = self.link.waiting
        if message.is_request or message.method in _OF_AN_EXCHANGE:
            if len(waiting) == 1:
                return next(iter(waiting.values()))
            if waiting and not self.mailbox.listening:
                return next(reversed(waiting.values()))
        return None

    def _dropped(self, message: Message) -> None:
        self.questions.lost(message, UNREAD)

    def close(self) -> None:
        """The session has ended."""
        self.questions.clear()
        self.mailbox.close()
        self.link.abort()
