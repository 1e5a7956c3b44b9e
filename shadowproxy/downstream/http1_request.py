"""One request and its response on an HTTP/1.1 connection, as an ASGI application sees it: `receive`, `send`, and our `limit` extension.

In: what the parser found. Out: bytes written to the connection; head and first body leave in one send. Owns no task.
`receive` and `send` are bound methods and nothing here refers to itself, so that a request leaves no reference cycle behind.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Protocol

import trio

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import Connection
from shadowproxy.wire.jsonrpc import INVALID_REQUEST, encode

_STATUS = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
_BODYLESS = frozenset({204, 304})
_PART = 65536
"""Bytes of a body that are handed over before the rest has come."""
_EMPTY = {"type": "http.request", "body": b"", "more_body": False}
_GONE = {"type": "http.disconnect"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyTooLarge(Exception):
    """A chunked body grew past `limits.body`."""


def canned(status: int, text: str) -> bytes:
    """A whole refusal that also closes; its body is a JSON-RPC error without an id, as MCP allows."""
    body = encode({"jsonrpc": "2.0", "id": None, "error": {"code": INVALID_REQUEST, "message": text}})
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return _STATUS[status] + head + body


class Carrier(Protocol):
    """What a request asks of its connection's server (`http1.py`)."""

    connection: Connection
    limits: Limits
    timeouts: Timeouts
    parser: Any
    eof: bool
    closing: bool
    deadline: float | None
    scope: trio.CancelScope

    async def fill(self) -> None: ...
    def cut(self, reason: str) -> None: ...


class Request:
    __slots__ = ("_body_due", "_chunked", "_chunks", "_expects", "_head", "_http", "_keep", "_mute", "_size", "_told", "_total", "begun", "cancel_when_gone", "complete",
                 "done", "due", "headers", "keep_alive", "known", "last_write", "late", "method", "standing", "target", "version")  # fmt: skip

    def __init__(self, http: Carrier, target: bytes, headers: list[tuple[bytes, bytes]], known: dict[bytes, bytes], version: str) -> None:
        parser = http.parser
        method = parser.get_method()
        self._http, self.target, self.headers, self.known, self.version = http, target, headers, known, version
        self.method = "POST" if method == b"POST" else method.decode()
        self._keep = parser.should_keep_alive()
        self._chunks: list[bytes] = []
        self._size = self._total = 0
        self.complete = self._told = self._chunked = self._mute = self.begun = self.done = False
        self._expects: bool | None = None
        self._body_due = 0.0
        self._head: bytes | None = None
        self.due: float | None = None
        self.late: Callable[[str], Awaitable[None]] | None = None
        self.cancel_when_gone = False
        self.keep_alive: tuple[float, bytes] | None
        self.standing: Callable[[str], None] | None  # of a standing stream: what ends it, with the reason
        self.keep_alive = self.standing = None
        self.last_write = 0.0

    # ------------------------------------------------ request body
    def add(self, data: bytes) -> None:
        """A part of the body, from the parser."""
        self._chunks.append(data)
        self._size += len(data)
        self._total += len(data)
        if self._total > self._http.limits.body:
            raise BodyTooLarge(f"the body is larger than {self._http.limits.body} bytes (limits.body)")

    async def receive(self) -> dict[str, Any]:
        http = self._http
        while True:
            if self._chunks and (self.complete or self._size > _PART):
                body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks, self._size, self._told = [], 0, self.complete
                return {"type": "http.request", "body": body, "more_body": not self.complete}
            if self.complete and not self._told:
                self._told = True
                return _EMPTY
            if http.eof:
                return _GONE
            if not self.complete:
                await self._await_body()
            await http.fill()
            http.deadline = None

    async def _await_body(self) -> None:
        if self._expects is None:
            self._expects = (b"expect", b"100-continue") in [(name, value.lower()) for name, value in self.headers]
            if self._expects and not self._total and self.version == "1.1":
                await self._http.connection.write(_CONTINUE)
            self._body_due = trio.current_time() + self._http.timeouts.body  # for all of it: a trickle does not push it forward
        self._http.deadline = self._body_due

    # ------------------------------------------------ response
    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self._head = self._start(event["status"], event["headers"])
            return
        body, more = event.get("body", b""), event.get("more_body", False)
        if self._mute:
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if self._head is not None:
            body, self._head, self.begun = self._head + body, None, True
        if not more:
            self.done = True
        if body:
            await self._http.connection.write(body)
            if self.keep_alive is not None:
                self.last_write = trio.current_time()

    def _start(self, status: int, headers: Any) -> bytes:
        out = [_STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status]
        self._mute = self.method == "HEAD" or status in _BODYLESS
        sized = self._mute
        for name, value in headers:
            out.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                sized = True
        if not sized:
            if self.version == "1.1":
                self._chunked = True
                out.append(b"transfer-encoding: chunked\r\n")
            else:
                self._keep = False  # HTTP/1.0: the end of the connection is the end of the body
        if self._http.closing or not self.complete:
            self._keep = False
        if not self._keep:
            out.append(b"connection: close\r\n")
        elif self.version == "1.0":
            out.append(b"connection: keep-alive\r\n")
        out.append(b"\r\n")
        return b"".join(out)

    def finished(self) -> bool:
        """Answered, and the connection can carry another request."""
        http = self._http
        http.connection.on_gone = self.late = None  # `late` holds `send`, which holds this request: the cycle ends here
        return self.done and self._keep and self.complete

    # ------------------------------------------------ the extension "shadowproxy.limit"
    def limit(self, seconds: float | None, late: Callable[[str], Awaitable[None]], cancel_when_gone: bool) -> None:
        """Bound this exchange by the connection's own scope, so that a request needs no scope and no watcher task.

        Past `seconds` (None: never) the app is cancelled and `late(reason)` awaited in its stead: reason "deadline", or "drain" at shutdown.
        With `cancel_when_gone` the client's leaving cancels too, and nobody is told.
        """
        self.due = None if seconds is None else trio.current_time() + seconds
        self.late, self.cancel_when_gone = late, cancel_when_gone
        if cancel_when_gone:
            connection = self._http.connection
            connection.on_gone = self._http.scope.cancel
            if connection.gone:
                self._http.scope.cancel()

    def extend(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now."""
        self.due = trio.current_time() + seconds

    def stand(self, every: float, comment: bytes, end: Callable[[str], None] | None = None) -> None:
        """This is a standing stream: no deadline, ended by a drain, `comment` sent after `every` seconds of silence.

        `end(reason)`, if given, has the app end by itself; else a drain cancels it, and `late` speaks in its stead.
        """
        self.due, self.standing = None, end or self._http.cut
        self.keep_quiet_alive(every, comment)
        if self._http.closing:
            self.standing("drain")

    def keep_quiet_alive(self, every: float, comment: bytes) -> None:
        self.keep_alive = every, b"%x\r\n%b\r\n" % (len(comment), comment) if self._chunked else comment
        self.last_write = trio.current_time()

    def sweep(self, now: float) -> None:
        if self.due is not None and self.due < now:
            if not self.done:  # else the answer is on its way, and has the deadline of a write
                self._http.cut("deadline")
        elif self.keep_alive is not None and self.begun and not self.done and self.last_write + self.keep_alive[0] <= now:
            self._http.connection.write_nowait(self.keep_alive[1])
            self.last_write = now
