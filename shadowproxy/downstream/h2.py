"""HTTP/2, and HTTP/1.1 where it is wished for: Hypercorn's per-connection server, guarded.

In: a `Connection` of ours, already accepted (and decrypted), with the bytes read so far. Out: the ASGI app called once per stream.
It owns one nursery per connection, in which Hypercorn runs its tasks. Never bare: an exception stays with its connection, writes have the
connection's deadline and can be cancelled, heads and bodies have our limits. `hypercorn==0.18.*`; tests/real/test_h2.py holds the contract.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.typing import ConnectionState

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import Connection, PeerGone
from shadowproxy.downstream.goaway import GoAway
from shadowproxy.downstream.http1 import App
from shadowproxy.downstream.own_limit import UNDER_WAY, UnderWay

log = logging.getLogger("shadowproxy")

LAST_BYTES = 0.5
"""Seconds that Hypercorn gets to send what the last application of a draining connection has said; the same for an HTTP/2 client to leave by itself."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class HypercornConnection:
    """One connection served by Hypercorn's protocols. It has the shape of `Http1`, so that the server treats both alike."""

    def __init__(self, connection: Connection, app: App, base: dict[str, Any], limits: Limits, timeouts: Timeouts, alpn: str, first: bytes) -> None:
        self.connection, self._limits, self._timeouts = connection, limits, timeouts
        self._app, self._base, self._alpn, self._first = app, base, alpn, first
        self._context = WorkerContext(None)
        self._draining = False
        self._idle = TrioSingleTask()
        self._scope = trio.CancelScope()
        self._protocol: ProtocolWrapper | None = None
        self._group: TaskGroup | None = None
        self._open = 0
        self._under_way = UnderWay()
        self._writing = trio.Lock()
        self._written = trio.Event()  # something has been
        self._left = trio.Event()  # the client has
        self._goaway = GoAway(self._write, self._leaving)
        self._parting = trio.Event()  # nothing is under way, and nothing new is taken

    @property
    def begun(self) -> bool:
        """Hypercorn says itself what there is to say."""
        return True

    async def run(self) -> None:
        """Serve until either side has had enough. The connection boundary: whatever Hypercorn raises ends here."""
        self.connection.on_gone = self._left.set
        if self.connection.gone:
            self._left.set()
        try:
            with self._scope:
                await self._serve()
        except* (PeerGone, OSError, trio.ClosedResourceError, trio.BrokenResourceError):
            pass
        except* Exception as group:
            log.warning("a connection was dropped: its HTTP/2 could not be served", extra={"reason": repr(group.exceptions[0])})

    async def _serve(self) -> None:
        config = _config(self._limits, self._timeouts)
        peer, tls = self.connection.peer, self._base["scheme"] == "https"
        async with TaskGroup() as self._group:
            self._protocol = ProtocolWrapper(ASGIWrapper(self._guarded), config, self._context, self._group, ConnectionState({}), tls, peer, None,
                                             self._out, self._alpn)  # fmt: skip
            self._goaway.watch(self._protocol.protocol)
            self._group.spawn(self._part)
            await self._protocol.initiate()
            await self._idle.restart(self._group, self._time_out)
            if self._first:
                await self._protocol.handle(RawData(self._first))
            await self._read()

    async def _read(self) -> None:
        assert self._protocol is not None
        while data := await self.connection.read():
            await self._protocol.handle(RawData(data))
            self._goaway.watch(self._protocol.protocol)  # an HTTP/1.1 client may have begun to speak it
        self.connection.gone = True
        self._left.set()
        await self._protocol.handle(Closed())
        await self._release()
        await self._idle.stop()
        self._parting.set()

    async def _part(self) -> None:
        """At the end, tell an HTTP/2 client what it may send elsewhere, and give it a moment to close."""
        while True:
            await self._parting.wait()
            if self._left.is_set():
                return
            with trio.move_on_after(LAST_BYTES):  # noqa: ASYNC912 - waits only if something is still to be written
                while not self._goaway.flushed:
                    self._written = trio.Event()
                    await self._written.wait()
            if not self._open:
                break
            self._parting = trio.Event()  # one that had been accepted has only now begun
        with trio.move_on_after(LAST_BYTES):
            await self._goaway.say()
            await self.connection.finish()
            await self._left.wait()
        self._scope.cancel(reason="nothing is under way any more")

    def _leaving(self) -> None:
        if not self._open:
            self._end_soon()

    def _end_soon(self) -> None:
        """Nothing is under way, and nothing new is taken."""
        if self._goaway.watching and not self._left.is_set():
            self._goaway.begin()
            self._parting.set()
        else:
            self._scope.deadline = trio.current_time() + LAST_BYTES

    async def _release(self) -> None:
        """Who waits for the client to make room for an answer: Hypercorn tells them nothing, and they would hold the connection for ever."""
        assert self._protocol is not None
        for buffer in list(getattr(self._protocol.protocol, "stream_buffers", {}).values()):  # HTTP/1.1 has none
            await buffer.close()

    async def _out(self, event: Event) -> None:
        """What Hypercorn wants done with the connection. Its own version of this shields a write that has no deadline."""
        assert self._protocol is not None
        assert self._group is not None
        if isinstance(event, RawData):
            if event.data:
                await self._write(event.data)
        elif isinstance(event, Closed):
            await self.connection.finish()
            self.connection.abort()
        elif isinstance(event, Updated):
            if event.idle and not self.connection.gone:  # else there is nothing to wait for, and the timer would hold what is left of the connection
                await self._idle.restart(self._group, self._time_out)
            else:
                await self._idle.stop()

    async def _write(self, data: bytes) -> None:
        written = False
        try:
            await self._my_turn()
            try:
                await self.connection.write(data)
            finally:
                self._writing.release()
            written = True
            self._written.set()
        except PeerGone:
            pass
        finally:
            if not written:  # nothing sensible can follow frames that are lost, be it because their writer was cancelled
                self.connection.abort()  # the reader notices, and tells the protocol

    async def _my_turn(self) -> None:
        """Take the lock; no checkpoint if it is free, so that a cancellation which is about to strike does not cost the connection."""
        try:
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()

    async def _time_out(self) -> None:
        await trio.sleep(self._timeouts.idle)
        if self._goaway.watching:
            self._end_soon()
        else:
            self._scope.cancel(reason="idle")

    # ------------------------------------------------ the application, within our limits
    async def _guarded(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        self._open += 1
        try:
            left, out = (None, send) if scope["http_version"] == "2" else (self._left, partial(self._perhaps_last, send))
            body = _Body(receive, partial(self._in_time, out), self._timeouts.body, self._limits.body, left)
            if (status := self._fault(scope["headers"])) is not None:
                await body.send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
                return await body.send({"type": "http.response.body", "body": b""})
            await self._app({**scope, **self._extras()}, body.receive, body.send)
        except PeerGone:
            pass  # the stream's end, not the connection's
        finally:
            self._open -= 1
            if (self._draining or self._goaway.begun or self._left.is_set()) and not self._open:
                self._end_soon()

    async def _perhaps_last(self, send: Send, event: dict[str, Any]) -> None:
        """In HTTP/1.1 the answer of a draining connection says that it is the last, or the client would send its next request into the void."""
        if self._draining and event["type"] == "http.response.start":
            event = {**event, "headers": [*event["headers"], (b"connection", b"close")]}
        await send(event)

    async def _in_time(self, send: Send, event: dict[str, Any]) -> None:
        """Within the write deadline, which a client that makes no room for an answer would otherwise never meet. Raises `PeerGone`."""
        with trio.move_on_after(self._timeouts.write):  # noqa: ASYNC912 - Hypercorn waits if it has to
            return await send(event)
        await self._reset(getattr(send, "__self__", None))
        raise PeerGone(f"the peer made no room for the answer for {self._timeouts.write:g} s")

    async def _reset(self, stream: Any) -> None:
        """End one stream; the others go on. In HTTP/1.1 it is the connection."""
        protocol: Any = None if self._protocol is None else self._protocol.protocol
        buffer = getattr(protocol, "stream_buffers", {}).get(getattr(stream, "stream_id", None))
        if buffer is None:
            return self.connection.abort()
        try:
            protocol.connection.reset_stream(stream.stream_id, ErrorCodes.CANCEL)
        except ProtocolError:
            pass  # it has ended already
        await buffer.close()
        await protocol._window_updated(stream.stream_id)  # whoever sends finds the stream closed, and forgets it
        await protocol._flush()

    def _fault(self, headers: Sequence[tuple[bytes, bytes]]) -> int | None:
        """The status that refuses these fields: too many, too large, or with characters that HTTP/1.1, on which they may go on, cannot carry."""
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if len(headers) > self._limits.headers or size > self._limits.head:
            return 431
        return 400 if any(_CONTROL.search(value) for _, value in headers) else None

    def _extras(self) -> dict[str, Any]:
        return {"extensions": {**self._base.get("extensions", {}), UNDER_WAY: self._under_way}}

    # ------------------------------------------------ what the server calls, synchronously
    def sweep(self, now: float) -> None:
        """Hypercorn keeps its own deadlines."""

    def cancel(self, reason: str) -> None:
        """End what is under way: exchanges with a last word, upon which the connection ends; without any it ends now."""
        self._draining = True
        self._goaway.begin()
        if not self._under_way.end(reason):
            self.connection.write_nowait(self._goaway.owed())
            self._scope.cancel(reason=reason)

    def drain(self) -> None:
        """Standing streams end politely, and the connection after its last answer; an idle one ends now, in HTTP/2 with a word (`goaway.py`)."""
        self._draining = True
        self._goaway.begin()
        self._under_way.drain()
        if self._open:
            return
        if self._goaway.watching:
            self._end_soon()
        else:
            self._scope.cancel(reason="drain")


class _Body:
    """`receive` with a deadline for the request's body, and a `send` that ends no response before that body is read.

    For Hypercorn forgets a stream whose response has ended, and the data that a client was just sending to it then costs the whole connection.
    In HTTP/1.1 the connection itself says that the client has `left`: Hypercorn, which reads no further when the next request is there already
    or an upgrade was offered (as curl's `--http2` does), would not notice before the answer is out.
    """

    def __init__(self, receive: Receive, send: Send, seconds: float, limit: int, left: trio.Event | None) -> None:
        self._receive, self._send, self._seconds, self._limit, self._left = receive, send, seconds, limit, left
        self._whole = False

    async def receive(self) -> dict[str, Any]:
        if self._whole:
            if self._left is None:
                return await self._receive()
            await self._left.wait()
            return {"type": "http.disconnect"}
        with trio.move_on_after(self._seconds):
            event = await self._receive()
            self._whole = not event.get("more_body", False)
            return event
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        if not self._whole and event["type"] == "http.response.body" and not event.get("more_body", False):
            await self._read_on()
        await self._send(event)

    async def _read_on(self) -> None:
        """What nobody wants is read all the same, as much of it as a body may have."""
        left = self._limit
        with trio.move_on_after(self._seconds):  # noqa: ASYNC912 - what is not whole is waited for
            while not self._whole and left > 0:
                left -= len((await self.receive()).get("body", b""))


def _config(limits: Limits, timeouts: Timeouts) -> HypercornConfig:
    config = HypercornConfig()
    config.errorlog = config.accesslog = None
    config.include_server_header = config.include_date_header = False
    config.h11_max_incomplete_size = config.h2_max_header_list_size = limits.head
    config.keep_alive_timeout = timeouts.idle
    config.keep_alive_max_requests = 1_000_000
    return config
