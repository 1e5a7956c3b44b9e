"""A memory wire: a client's bytes -> `Connection` -> `HttpServer` -> an ASGI application, in one process and in virtual time.

In: an application, or a fake upstream behind the real endpoint, gateway and sessions. Out: a `Wire`, whose `connect` gives clients that speak
HTTP/1.1 by h11, so that no code of ours reads what ours wrote. `open_wire` owns the accept loop, the sweeper and all connections.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import attrs
import h11
import trio
import trio.testing
from dialogue import Json
from fakes import FakeUpstream

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.connection import Connection, StreamConnection
from shadowproxy.downstream.http1 import App
from shadowproxy.downstream.http_server import HttpServer
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.exchange import Exchange, Interceptor
from shadowproxy.gateway import Gateway
from shadowproxy.server import open_core
from shadowproxy.sessions.table import Sessions
from shadowproxy.watch import Watch
from shadowproxy.wire.sse import SseParser

Send: TypeAlias = trio.testing.MemorySendStream
Receive: TypeAlias = trio.testing.MemoryReceiveStream
Memory: TypeAlias = "trio.StapledStream[Send, Receive]"
Fields: TypeAlias = Sequence[tuple[bytes, bytes]]
HOST = (b"host", b"localhost")
FOR_EVER = 20_000.0
"""Virtual seconds: no test takes so long."""


class MemoryConnection(StreamConnection):
    """The server's end, with what a socket has beyond a stream: a write that never waits. Of its peer's leaving it is told by `Client.leave`."""

    def __init__(self, stream: Memory, client: Memory, write_timeout: float) -> None:
        super().__init__(stream, write_timeout)
        self._client = client
        self.stalled = False
        self.at_once = False  # as to a socket: a write is no checkpoint as long as there is room

    async def write(self, data: bytes) -> None:
        if not (self.at_once and self.write_nowait(data)):
            await super().write(data)

    def write_nowait(self, data: bytes) -> bool:
        if self._writing or self.stalled:
            return False
        try:
            self._client.receive_stream.put_data(data)
        except trio.ClosedResourceError:
            return False
        return True


@attrs.frozen
class Response:
    """As h11 has read it."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    interim: tuple[int, ...] = ()

    def __getitem__(self, name: str) -> str | None:
        """A field's value, or None; two of one name are joined as HTTP joins them."""
        values = [value.decode() for key, value in self.fields if key == name.encode()]
        return ", ".join(values) if values else None

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def code(self) -> int:
        """The JSON-RPC code of an error."""
        code: int = self.json["error"]["code"]
        return code

    @property
    def messages(self) -> list[Json]:
        """Of a whole event stream, or the one of a JSON body."""
        if self["content-type"] != "text/event-stream":
            return [self.json]
        return [json.loads(event.data) for event in SseParser(1 << 20).feed(self.body) if event.data]


class Client:
    """The client's end of one connection."""

    def __init__(self, stream: Memory, connection: MemoryConnection, server_stream: Memory) -> None:
        self._stream, self.connection, self._server_stream = stream, connection, server_stream
        self._rest = b""
        self._reading: h11.Connection | None = None
        self._reads_on = trio.Event()

    # ------------------------------------------------ bytes
    async def send(self, data: bytes) -> None:
        """Bytes as they are; into the void if the server has closed."""
        with suppress(trio.BrokenResourceError):
            await self._stream.send_all(data)

    async def rest(self) -> bytes:
        """All that still comes until the server closes."""
        data, self._rest = self._rest, b""
        while part := await self._stream.receive_some():
            data += part
        return data

    async def closed(self) -> bool:
        """Wait for the next bytes; True if there are none."""
        if not self._rest:
            self._rest = bytes(await self._stream.receive_some())
        return not self._rest

    def leave(self) -> None:
        """Close; the server is told as the kernel would tell it."""
        self._stream.send_stream.close()
        self._stream.receive_stream.close()
        self._tell()

    def half_close(self) -> None:
        """Nothing more will be sent; answers are still read."""
        self._stream.send_stream.close()
        self._tell()

    def _tell(self) -> None:
        self.connection.gone = True
        if self.connection.on_gone is not None:
            self.connection.on_gone()

    def stop_reading(self) -> None:
        """From now on the server's writes wait."""
        self.connection.stalled = True
        self._reads_on = trio.Event()
        self._server_stream.send_stream.send_all_hook = self._hold

    def read_on(self) -> None:
        """They go on."""
        self.connection.stalled = False
        self._reads_on.set()

    async def _hold(self) -> None:
        await self._reads_on.wait()
        trio.testing.memory_stream_pump(self._server_stream.send_stream, self._stream.receive_stream)

    # ------------------------------------------------ responses
    async def head(self, to: str = "POST") -> Response:
        """The head of the next response, which answers a request of this method; interim ones are noted."""
        self._reading = reading = h11.Connection(h11.CLIENT)
        reading.send(h11.Request(method=to, target="/", headers=[HOST]))
        reading.send(h11.EndOfMessage())
        if self._rest:
            reading.receive_data(self._rest)
            self._rest = b""
        interim: list[int] = []
        while not isinstance(event := await self._event(reading), h11.Response):
            assert isinstance(event, h11.InformationalResponse), event
            interim.append(event.status_code)
        return Response(event.status_code, tuple(event.headers), b"", tuple(interim))

    async def _event(self, reading: h11.Connection) -> h11.Event:
        while (event := reading.next_event()) is h11.NEED_DATA:
            reading.receive_data(bytes(await self._stream.receive_some()))
        assert isinstance(event, h11.Event), event
        return event

    async def part(self) -> bytes:
        """The next bytes of the body; b"" at its end."""
        assert self._reading is not None
        event = await self._event(self._reading)
        if isinstance(event, h11.Data):
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        self._rest, self._reading = bytes(self._reading.trailing_data[0]), None
        return b""

    async def response(self, to: str = "POST") -> Response:
        """The next response, whole."""
        head, body = await self.head(to), b""
        while part := await self.part():
            body += part
        return attrs.evolve(head, body=body)

    # ------------------------------------------------ requests
    async def ask(self, method: str = "POST", target: str = "/mcp", body: bytes = b"", fields: Fields = (), **more: str) -> Response:
        """One request and its whole response; underscores in names stand for hyphens."""
        await self.send(request_bytes(method, target, body, fields, **more))
        return await self.response(method)

    async def post(self, exchange: Exchange, **more: str) -> Response:
        """POST an exchange's request with its fields, and whatever else."""
        await self.send(posted(exchange, **more))
        return await self.response()

    async def stream(self, exchange: Exchange, **more: str) -> Events:
        """The same, answered by events."""
        await self.send(posted(exchange, **more))
        return await self.events()

    async def get(self, **more: Any) -> Events:
        """A GET stream."""
        await self.send(request_bytes("GET", fields=((b"accept", b"text/event-stream"),), **more))
        return await self.events("GET")

    async def events(self, to: str = "POST") -> Events:
        head = await self.head(to)
        assert (head.status, head["content-type"]) == (200, "text/event-stream"), (head, await self.part())
        return Events(self, head)


class Events:
    """The events of one response, as they come."""

    def __init__(self, client: Client, head: Response) -> None:
        self.client, self.head = client, head
        self._parser = SseParser(1 << 20)
        self._waiting: list[Json] = []
        self.comments = 0

    async def message(self) -> Json | None:
        """The next message; None at the end of the stream."""
        while not self._waiting:
            if not await self.more():
                return None
        return self._waiting.pop(0)

    async def more(self) -> bool:
        """Read on, be it a comment; False at the end."""
        part = await self.client.part()
        events = self._parser.feed(part)
        self.comments += sum(event.comment is not None for event in events)
        self._waiting += [json.loads(event.data) for event in events if event.data]
        return bool(part)


def request_bytes(method: str = "POST", target: str = "/mcp", body: bytes = b"", fields: Fields = (), **more: str) -> bytes:
    """A request with a length if it has a body, and with a Host."""
    lines = [HOST, *fields, *((name.replace("_", "-").encode(), value.encode()) for name, value in more.items())]
    if body or method == "POST":
        lines.append((b"content-length", b"%d" % len(body)))
    head = b"".join(b"%b: %b\r\n" % line for line in lines if line[0] != b"host" or "host" not in more or line is not HOST)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), target.encode(), head, body)


def posted(exchange: Exchange, **more: str) -> bytes:
    return request_bytes("POST", "/mcp", exchange.request.encode(), exchange.headers or (), **more)


class MemoryListener(trio.abc.Listener[Connection]):
    def __init__(self, write_timeout: float) -> None:
        self._write_timeout = write_timeout
        self._waiting, self._accepting = trio.open_memory_channel[Connection](1000)

    async def accept(self) -> Connection:
        return await self._accepting.receive()

    async def aclose(self) -> None:
        """Those who still wait are turned away, as the kernel does."""
        with suppress(trio.WouldBlock):
            while True:
                self._accepting.receive_nowait().abort()
        self._accepting.close()
        await trio.lowlevel.checkpoint()

    def connect(self) -> Client:
        ours, theirs = trio.testing.memory_stream_pair()
        connection = MemoryConnection(theirs, ours, self._write_timeout)
        self._waiting.send_nowait(connection)
        return Client(ours, connection, theirs)


@attrs.frozen
class Wire:
    server: HttpServer
    connect: Callable[[], Client]


@asynccontextmanager
async def open_wire(app: App, limits: Limits = Limits(), timeouts: Timeouts = Timeouts(), engine: str = "native") -> AsyncIterator[Wire]:  # noqa: B008 -- frozen
    """The real server before `app`, and clients for it."""
    server, listener = HttpServer(app, limits, timeouts, engine), MemoryListener(timeouts.write)
    async with trio.open_nursery() as serving:
        serving.start_soon(trio.serve_listeners, server.serve, [listener])
        serving.start_soon(server.sweep)
        with trio.fail_after(FOR_EVER):
            yield Wire(server, listener.connect)
        serving.cancel_scope.cancel(reason="the wire is left")


@attrs.frozen
class House:
    """All between a client and a fake upstream."""

    upstream: FakeUpstream
    config: Config
    gateway: Gateway
    sessions: Sessions
    endpoint: Endpoint
    server: HttpServer
    connect: Callable[[], Client]


@asynccontextmanager
async def open_house(upstream: FakeUpstream, interceptors: Sequence[Interceptor] = (), **settings: Any) -> AsyncIterator[House]:
    """`settings` are those of `Config`."""
    config = Config(upstream=Upstream(command=("none",)), **settings)
    watch = Watch()
    try:
        async with open_core(config, watch, interceptors, upstream) as (gateway, sessions):
            endpoint = Endpoint(config, gateway, sessions, Origins((), config.allowed_hosts, config.allowed_origins))
            async with open_wire(endpoint, config.limits, config.timeouts, config.http_engine) as wire:
                yield House(upstream, config, gateway, sessions, endpoint, wire.server, wire.connect)
    finally:
        watch.close()
