"""An HTTP server at the other end of memory streams, as the upstream's client sees it.

In: a handler, called for each request on each connection. Out: `connect` for an `HttpUpstream`, and a record of what was asked.
`open_peer` owns a task per connection; leaving it ends them. Nothing here reads a clock, so virtual time holds.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import attrs
import trio
import trio.testing

from shadowproxy.connection import StreamConnection

Json: TypeAlias = dict[str, Any]
WRITE = 30.0


@attrs.frozen
class Asked:
    """One request as it came."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def __getitem__(self, name: str) -> str | None:
        """A field's value, or None; two of one name are joined as HTTP joins them."""
        return ", ".join(value for key, value in self.fields if key == name) if any(key == name for key, _ in self.fields) else None

    @property
    def message(self) -> Json:
        found: Json = json.loads(self.body)
        return found


class Wire:
    """One connection as its server has it."""

    def __init__(self, stream: trio.StapledStream[Any, Any], number: int) -> None:
        self._stream, self.number = stream, number
        self._buffer = b""
        self.client: StreamConnection | None = None
        self.closed = trio.Event()

    async def request(self) -> Asked | None:
        """The next request, whole; None when the client has left."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        pairs = [field.partition(":") for field in rest]
        fields = tuple((name.lower(), value.strip()) for name, _, value in pairs)
        length = int(dict(fields).get("content-length", "0"))
        while len(self._buffer) < length:
            if not await self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Asked(method, target, fields, body, self.number)

    async def _more(self) -> bool:
        try:
            data = bytes(await self._stream.receive_some(65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        self._buffer += data
        if not data:
            self.closed.set()
        return bool(data)

    @property
    def deserted(self) -> bool:
        """Whether the client has closed its end, be it noticed or not."""
        return self.client is not None and self.client.gone

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while await self._more():
            pass

    async def send(self, data: bytes) -> None:
        """Bytes; into the void if the client has left."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.closed.set()

    async def answer(self, status: int = 200, body: bytes = b"", **fields: str) -> None:
        """A whole answer; underscores in names of fields stand for hyphens."""
        await self.send(head_of(status, {**fields, "content-length": str(len(body))}) + body)

    async def json(self, message: Json, status: int = 200, **fields: str) -> None:
        await self.answer(status, json.dumps({"jsonrpc": "2.0", **message}).encode(), content_type="application/json", **fields)

    async def begin_events(self, **fields: str) -> None:
        await self.send(head_of(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **fields}))

    async def event(self, message: Json | None, id: str | None = None, retry: int | None = None) -> None:
        """One event; None for one that carries no message."""
        text = "".join([f"id: {id}\n" if id is not None else "", f"retry: {retry}\n" if retry is not None else "",
                        f"data: {json.dumps({'jsonrpc': '2.0', **message})}\n" if message is not None else "data:\n", "\n"])  # fmt: skip
        await self.send(chunk(text.encode()))

    async def end_events(self) -> None:
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """Drop the connection, without a word."""
        for half in (self._stream.send_stream, self._stream.receive_stream):
            getattr(half, "close")()  # noqa: B009 -- streams in memory have it, of either kind
        self.closed.set()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def head_of(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


Handler: TypeAlias = Callable[[Asked, Wire], Awaitable[None]]


class Peer:
    """The server: `connect` is what the upstream dials."""

    def __init__(self, handler: Handler, connections: trio.Nursery) -> None:
        self._handler, self._connections = handler, connections
        self.wires: list[Wire] = []
        self.asked: list[Asked] = []
        self.dialling: Callable[[], Awaitable[None]] | None = None

    async def connect(self) -> StreamConnection:
        if self.dialling is not None:
            await self.dialling()
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        wire = Wire(theirs, len(self.wires))
        wire.client = StreamConnection(ours, WRITE)
        self.wires.append(wire)
        self._connections.start_soon(self._serve, wire)
        return wire.client

    async def _serve(self, wire: Wire) -> None:
        while (asked := await wire.request()) is not None:
            self.asked.append(asked)
            await self._handler(asked, wire)

    @property
    def open(self) -> int:
        """Connections that the client has not closed."""
        return sum(not wire.deserted for wire in self.wires)


@asynccontextmanager
async def open_peer(handler: Handler) -> AsyncIterator[Peer]:
    async with trio.open_nursery() as connections:
        yield Peer(handler, connections)
        connections.cancel_scope.cancel(reason="the peer is left")
