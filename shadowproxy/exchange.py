"""The exchange: one request, what is held for it, and the seam that everything which moves messages has the shape of.

In: a request and its client's circumstances. Out: a `Message` (the response, nothing else came) or `Replies`, pulled one by one.
An exchange owns no task; what a layer acquires for it is registered by `on_leave` and given back, synchronously, by leaving its block.
"""
from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

from shadowproxy.wire.jsonrpc import Message, Raw
from shadowproxy.wire.sse import Event

log = logging.getLogger("shadowproxy")

Era: TypeAlias = Literal["legacy", "modern"]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
#: What a stream carries: messages, and events without one (a priming event, a bare `retry`).
Replies: TypeAlias = AsyncIterator["Message | Event"]
Reply: TypeAlias = "Message | Replies"
Call: TypeAlias = Callable[["Exchange"], Awaitable[Reply]]
Notify: TypeAlias = Callable[["Exchange"], Awaitable[None]]
Listen: TypeAlias = Callable[["Exchange"], Awaitable[Replies]]
End: TypeAlias = Callable[["Exchange"], Awaitable[None]]
#: What passes between the client and the proxy alone: an error or the end of a subscription in the proxy's own words, a cancellation that no server
#: hears of as such.
Said: TypeAlias = "Message | Exception"
Aside: TypeAlias = Callable[["Exchange", Said], None]

class Left(Exception):
    """Said of a client that dropped a legacy stream; its exchange goes on (2025-11-25, basic/transports.mdx: disconnection is no cancellation)."""


NOTHING = Message({}, None)
"""The request of an exchange that only listens."""


class _Owner:
    """Remembers how to give back what was acquired: last first, each once, whatever the others do."""

    __slots__ = ("_leaving",)

    def __init__(self) -> None:
        self._leaving: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def on_leave(self, function: Callable[..., object], *args: object) -> None:
        """Have `function(*args)` called at the end. It must not block."""
        self._leaving.append((function, args))

    def leave(self) -> None:
        """Give everything back. One that raises is a bug: it is logged, and the rest still runs."""
        leaving = self._leaving
        while leaving:
            function, args = leaving.pop()
            try:
                function(*args)
            except Exception:
                log.exception("giving back a resource failed")


class Session(_Owner):
    """A legacy client's conversation (2025-11-25, basic/transports.mdx, "Session Management"); it outlives connections.

    `id` is what the client knows it by (None: the upstream keeps no sessions). `upstream` is the upstream's own state for it, `recorded` a recorder's.
    Ended by `leave()`: whoever owns it (the session table, the stdio downstream) calls that.
    """

    __slots__ = ("__weakref__", "busy", "ended", "id", "last_used", "on_end", "recorded", "upstream", "upstream_id", "version")

    def __init__(self, id: bytes | None, now: float = 0.0) -> None:
        super().__init__()
        self.id = id
        self.version: str | None = None
        self.upstream_id: bytes | None = None
        self.upstream: Any = None
        self.recorded: Any = None
        self.on_end: Callable[[], None] | None = None
        self.busy = 0
        self.last_used = now
        self.ended = False

    def end(self) -> None:
        """Give back all that it holds, once."""
        if not self.ended:
            self.ended = True
            self.leave()


class Exchange(_Owner):
    """One request and all that is held for it. `with exchange:` is the block that owns it.

    `headers` are the downstream HTTP fields, lower-case names; None when there is no HTTP downstream, so that the upstream makes its own.
    `number`, `asked` and `streamed` are a recorder's.
    `status`, `reply_headers` and `as_event` travel back: what an HTTP downstream answers with, and whether as an event though there is but one.
    """

    __slots__ = ("as_event", "asked", "era", "headers", "id", "last_event_id", "number", "reply_headers", "request", "session", "status", "streamed")

    def __init__(self, request: Message, era: Era, session: Session | None = None, headers: Headers | None = None) -> None:
        self._leaving = []
        self.request = request
        self.id: Raw | None = request.members.get("id")
        self.era: Era = era
        self.session = session
        self.headers = headers
        self.status = 200
        self.as_event = self.streamed = False
        self.number = self.asked = 0
        self.reply_headers: Headers = ()
        self.last_event_id: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._leaving:
            self.leave()


class Upstream(Protocol):
    """Whatever answers: a child process, an HTTP server, a tape."""

    async def call(self, exchange: Exchange) -> Reply:
        """Send the request; give its response, or the stream that ends with it. Raises `ProxyError`."""
        ...

    async def notify(self, exchange: Exchange) -> None:
        """Send a message that expects nothing back: a notification, or the client's answer to a server's request."""
        ...

    async def listen(self, exchange: Exchange) -> Replies:
        """What the server of this session sends unasked, from now on. Raises `ProxyError` when it offers no such stream."""
        ...

    async def end(self, exchange: Exchange) -> None:
        """End the session, on the client's word. Raises `ProxyError` when the server does not allow it."""
        ...


class Interceptor(Protocol):
    """Sees every exchange and the next `call`. `notify`, `listen` and `end` are optional methods of the same shape; so is `aside(exchange, said)`,
    which is told, synchronously, what passes between the client and the proxy alone (errors that came through `call` may come here once more)."""

    async def call(self, next: Call, exchange: Exchange) -> Reply: ...
