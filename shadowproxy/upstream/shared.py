"""One legacy child for many sessions (`share = true`): for servers whose state belongs to nobody in particular.

In: the exchanges of many sessions. Out: replies to each, and to each its copy of what changes for all. The first session's handshake is
the child's; later ones are answered from it. Levels of logging and subscriptions are the union of all; what arrives is dealt out again.
Requests of the server cannot say which session they are for, so none are invited: the child is told that its clients can answer none.
Owns no task. A child is kept per known protocol version asked for, and one for all others, as long as it lives.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from shadowproxy.config import Limits
from shadowproxy.exchange import Exchange, Replies, Reply, Session
from shadowproxy.upstream.conversation import Mailbox
from shadowproxy.upstream.peer import Peer
from shadowproxy.wire.jsonrpc import METHOD_NOT_FOUND, BadMessage, Message, Raw, encode, text_of
from shadowproxy.wire.levels import LEVELS

_EMPTY: Final = Raw(b"{}")


class SharedChild:
    """The child and its members."""

    def __init__(self, link: Peer, limits: Limits) -> None:
        self.link, self._limits = link, limits
        self._members: dict[Member, Session] = {}
        self._subscribed: Counter[str] = Counter()
        self._level: int | None = None
        self.hello: Message | None = None  # the server's answer to the first handshake
        self.greeted = False
        self.handshake = trio.Lock()  # the first one is under way: the next comer waits for its outcome
        self._unheard = link.on_death  # whom to tell if it ends before it has answered anything
        link.unasked, link.on_death = self.route, self._died

    def join(self, session: Session) -> Member:
        """`session` takes part until it ends."""
        member = Member(self, self._limits)
        self._members[member] = session
        session.on_leave(self._part, member)
        return member

    def _part(self, member: Member) -> None:
        del self._members[member]
        member.mailbox.close()
        for uri in member.uris:
            self._unsubscribe(uri)

    def _died(self) -> None:
        if self.hello is None and self._unheard is not None:
            self._unheard()
        for member, session in list(self._members.items()):
            if not member.spared:
                session.end()

    def subscribe(self, uri: str) -> bool:
        """Whether the server has to be told."""
        self._subscribed[uri] += 1
        return self._subscribed[uri] == 1

    def _unsubscribe(self, uri: str) -> bool:
        self._subscribed[uri] -= 1
        if not self._subscribed[uri]:
            del self._subscribed[uri]
        return uri not in self._subscribed

    def unsubscribe(self, uri: str) -> bool:
        return self._unsubscribe(uri)

    def lower(self, level: int) -> bool:
        """Whether the server has to become more talkative for this."""
        if self._level is not None and self._level <= level:
            return False
        self._level = level
        return True

    def route(self, message: Message, size: int) -> None:
        """Called by the link's reader: a copy for each member that it concerns."""
        if message.is_request:
            self.link.refuse(message.id, METHOD_NOT_FOUND, "the clients of this shared server answer no requests")
            return
        concerns = _concerns(message)
        for member in self._members:
            if concerns(member):
                member.mailbox.post(message, size)


class Member:
    """One session's part in a shared child; it has the shape of a conversation."""

    def __init__(self, child: SharedChild, limits: Limits) -> None:
        self._child, self.link = child, child.link
        self.mailbox = Mailbox(limits)
        self.uris: set[str] = set()
        self.spared = False  # the child's death does not end the session: it may begin with another
        self.level: int | None = None

    async def call(self, exchange: Exchange) -> Reply:
        match exchange.request.method:
            case "initialize":
                return await self._initialize(exchange)
            case "logging/setLevel":
                return await self._set_level(exchange)
            case "resources/subscribe" | "resources/unsubscribe":
                return await self._subscription(exchange)
        return await self.link.call(exchange)

    async def notify(self, exchange: Exchange) -> None:
        message = exchange.request
        if message.method == "notifications/initialized" and not self._child.greeted:
            self._child.greeted = True
            await self.link.send(message)
        elif message.method == "notifications/cancelled":
            wire = self.link.cancel_by_client(message, exchange.session)
            if wire is not None:
                await self.link.send(wire)

    def listen(self, exchange: Exchange) -> Replies:
        return self.mailbox.open(exchange)

    async def _initialize(self, exchange: Exchange) -> Reply:
        child = self._child
        async with child.handshake:
            if child.hello is None:
                exchange.request.params()["capabilities"] = _EMPTY
                reply = await self.link.call(exchange)
                if isinstance(reply, Message) and "result" in reply.members:
                    child.hello = Message(dict(reply.members), None)
                return reply
        return Message({**child.hello.members, "id": exchange.id}, None)

    async def _set_level(self, exchange: Exchange) -> Reply:
        level = text_of(exchange.request.params().get("level", b""))
        if level not in LEVELS:
            return await self.link.call(exchange)
        self.level = LEVELS.index(level)
        return await self._told(exchange, self._child.lower(self.level))

    async def _subscription(self, exchange: Exchange) -> Reply:
        uri = text_of(exchange.request.params().get("uri", b""))
        if uri is None:
            return await self.link.call(exchange)
        if exchange.request.method == "resources/subscribe":
            new = uri not in self.uris and self._child.subscribe(uri)
            self.uris.add(uri)
            return await self._told(exchange, new)
        last = uri in self.uris and self._child.unsubscribe(uri)
        self.uris.discard(uri)
        return await self._told(exchange, last)

    async def _told(self, exchange: Exchange, needed: bool) -> Reply:
        """Ask the server if it has to know; answer in its stead if it knows already."""
        if needed:
            return await self.link.call(exchange)
        return Message.decode(encode({"jsonrpc": "2.0", "id": exchange.id, "result": {}}))


def _concerns(message: Message) -> Callable[[Member], bool]:
    try:
        if message.method == "notifications/resources/updated":
            uri = text_of(message.params().get("uri", b""))
            return lambda member: uri in member.uris
        if message.method == "notifications/message":
            level = text_of(message.params().get("level", b"")) or LEVELS[-1]
            rank = LEVELS.index(level) if level in LEVELS else len(LEVELS)
            return lambda member: member.level is None or member.level <= rank
    except BadMessage:
        return lambda member: False
    return lambda member: True


