"""Our HTTP/1.1 client: one connection to a server, leased for one request at a time.

In: a whole request as bytes. Out: status, headers, and the body as it comes. Framing is llhttp's. Owns no task; the pool closes it.
It may be lent again only from a message boundary with nothing unread: a response that nobody asked for must never answer the next request.
"""
from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import httptools
import trio

from shadowproxy.connection import CHUNK, Connection, PeerGone
from shadowproxy.errors import MessageTooLarge, UpstreamBroken
from shadowproxy.exchange import Headers
from shadowproxy.upstream.fields import Fields

MAX_FIELDS = 256
MAX_HEAD = 64 * 1024
"""Of a response: generous beside what servers send, and a bound all the same."""
BRISK = 0.02
"""Seconds after which an idle connection is looked at before it is lent: what a server says unasked (a 408, say) comes later than that."""
FRESH = 4.0
"""Seconds that an idle connection is trusted. Servers commonly close theirs after 5 (uvicorn, hypercorn, node); a request sent into that
moment is lost, and a POST must not be sent twice."""


class Client(Protocol):
    """What the HTTP upstream asks of a leased connection, ours (`HttpClient`) or httpx's (`httpx_client.py`)."""

    status: int
    headers: list[tuple[bytes, bytes]]
    known: dict[bytes, bytes]
    complete: bool
    streaming: bool

    def usable(self) -> bool: ...
    def abort(self) -> None: ...
    def send(self, fields: Fields, method: bytes, headers: Headers, session: bytes | None, body: bytes | None) -> Awaitable[None]: ...
    async def pull(self) -> None: ...
    def take(self) -> bytes: ...
    @property
    def waiting(self) -> bool: ...
    async def body(self) -> bytes: ...


class HttpClient:
    """`limit`: bytes of one JSON body."""

    __slots__ = ("_chunks", "_fault", "_fed", "_fields", "_interim", "_keep", "_limit", "_moved", "_parser", "_since", "_size", "_until_eof", "complete", "connection",
                 "head_done", "headers", "known", "status", "streaming")  # fmt: skip

    def __init__(self, connection: Connection, limit: int) -> None:
        self.connection, self._limit = connection, limit
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._size = self._fed = self._fields = 0
        self._interim = self._until_eof = self._moved = self.streaming = False
        self._keep = self.complete = self.head_done = True
        self._since = -1.0  # when it was given back
        self._fault: UpstreamBroken | None = None  # of what came behind the body so far
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.known: dict[bytes, bytes] = {}

    # ------------------------------------------------ the pool's questions
    def usable(self) -> bool:
        if not (self.complete and self._keep) or self.connection.gone or self._chunks:
            return False
        now = trio.current_time()
        if self._since < 0:
            self._since = now
            return True
        idle = now - self._since
        return idle < BRISK or (idle < FRESH and self.connection.quiet())

    def abort(self) -> None:
        self._keep = False
        self.connection.abort()

    # ------------------------------------------------ the parser's callbacks
    def on_message_begin(self) -> None:
        if self.complete:  # nobody asked
            self._keep = False
            raise UpstreamBroken("the upstream sent a response that nobody asked for")
        self._moved = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:
            return  # a trailer
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise UpstreamBroken(f"the upstream's response has more than {MAX_FIELDS} header fields")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._moved = True
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._interim = True
            return
        self.head_done = True
        self.known = known = dict(self.headers)
        self._until_eof = b"content-length" not in known and b"transfer-encoding" not in known and self.status not in (204, 304)

    def on_body(self, data: bytes) -> None:
        self._moved = True
        self._chunks.append(data)
        self._size += len(data)
        if self._size > self._limit and not self.streaming and not self._begins_a_stream():
            raise MessageTooLarge(f"the upstream's answer is larger than {self._limit} bytes (limits.message)", status=502)

    def _begins_a_stream(self) -> bool:
        """Whether this is what came of an event stream with its head, before anybody could say that it is to be streamed."""
        return self._size <= CHUNK and self.known.get(b"content-type", b"").startswith(b"text/event-stream")

    def on_message_complete(self) -> None:
        self._moved = True
        if self._interim:  # 100, 103: the response itself is still to come
            self._interim, self.headers, self._fields = False, [], 0
            return
        self.complete = True
        self._keep = self._keep and not self._until_eof and self._parser.should_keep_alive()

    # ------------------------------------------------ a request
    def send(self, fields: Fields, method: bytes, headers: Headers, session: bytes | None, body: bytes | None) -> Awaitable[None]:
        """`request` for these fields; `body` None for none."""
        head = fields.head(method, headers, session, None if body is None else len(body))
        return self.request(head if body is None else head + body)

    async def request(self, data: bytes) -> None:
        """Send it and read up to the end of the response's head. Raises `UpstreamBroken`."""
        self.complete = self.head_done = self.streaming = False
        self.headers, self._chunks, self._size, self._fields, self._fed, self._since = [], [], 0, 0, 0, -1.0
        try:
            await self.connection.write(data)
        except PeerGone as error:
            raise UpstreamBroken(f"the upstream did not take the request: {error}") from None
        while not self.head_done:
            await self.pull()

    async def pull(self) -> None:
        """Read once. Raises `UpstreamBroken`, also at an end that came too early; what came before the fault can be taken first."""
        if self._fault is not None:
            raise self._fault
        data = await self.connection.read()
        if not data:
            return self._ended()
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._spoil("the upstream switched protocols, which nobody asked for")
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._keep = False
            if isinstance(cause, MessageTooLarge) or (isinstance(cause, UpstreamBroken) and not self.complete):
                raise cause from None
            if not self.complete:
                self._fault = UpstreamBroken(f"the upstream's answer is not HTTP/1.1: {error}")
                if not self.head_done:
                    raise self._fault from None
        self._fed = 0 if self._moved else self._fed + len(data)
        if self._fed > MAX_HEAD:
            self._spoil(f"the head of the upstream's answer is larger than {MAX_HEAD} bytes")

    def _ended(self) -> None:
        self._keep = False
        if self.head_done and self._until_eof:
            self.complete = True
        elif not self.complete:
            self._spoil("the upstream closed the connection before its answer was complete")

    def _spoil(self, text: str) -> None:
        self._keep = False
        raise UpstreamBroken(text)

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks, self._size = [], 0
        return data

    @property
    def waiting(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._chunks)

    async def body(self) -> bytes:
        """The whole body."""
        while not self.complete:
            await self.pull()
        return self.take()
