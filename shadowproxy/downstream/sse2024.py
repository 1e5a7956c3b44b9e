"""A client of 2024-11-05: one event stream from us, one endpoint to POST to, both for the life of its session.

In: GET of the stream's path, POSTs to the endpoint that the first event names. Out: events. To the rest of the house such a client is a
client on a pair of pipes (`stdio.py`): its POSTs are the input, its events the output. Everything runs in the task of the GET and ends with it;
where no limit is lent, within one of its own (`own_limit.py`). A drain is the end of the input: what was taken in with 202 is answered first.
Source: 2024-11-05, basic/transports.mdx, "HTTP with SSE".
"""
from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import trio

from shadowproxy.config import Config
from shadowproxy.connection import PeerGone
from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send
from shadowproxy.downstream.own_limit import UNDER_WAY, OwnLimit
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.errors import Overloaded, SessionUnknown
from shadowproxy.gateway import Gateway
from shadowproxy.wire.jsonrpc import as_line
from shadowproxy.wire.sse import KEEP_ALIVE, encode_event

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]

WAITING = 16
"""POSTs that may wait to be taken in; the next one waits in its own connection."""


class Streams2024:
    """All clients of this kind. `messages` is the path of their endpoint."""

    def __init__(self, config: Config, gateway: Gateway) -> None:
        self._config, self._gateway = config, gateway
        self.messages = f"{config.sse_path}/messages"
        self._clients: dict[str, trio.MemorySendChannel[bytes]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    async def stream(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one client until it, or the proxy, ends."""
        if len(self._clients) >= self._config.limits.sessions:
            raise Overloaded(f"{self._config.limits.sessions} sessions are open (limits.sessions); try again later")
        id = secrets.token_hex(16)
        inbox, lines = trio.open_memory_channel[bytes](WAITING)
        events = _Events(send)
        try:
            self._clients[id] = inbox
            await answer.start_events(send)
            await answer.flush(send, encode_event(f"{self.messages}?session_id={id}".encode(), event=b"endpoint"))
            client = StdioServer(self._config, self._gateway, _Lines(lines), events)
            await self._standing(scope, receive, events, client, partial(_end, client, inbox))
        finally:
            del self._clients[id]
            inbox.close()
            lines.close()

    async def _standing(self, scope: dict[str, Any], receive: Receive, events: _Events, client: StdioServer, end: Callable[[str], None]) -> None:
        """`end` is what a drain does to it."""
        extensions: dict[str, Any] = scope.get("extensions") or {}
        lent = extensions.get("shadowproxy.limit")
        limit: Any = lent or OwnLimit(float("inf"), events.send, extensions.get(UNDER_WAY))
        run = partial(_serve, client, events)
        try:
            if lent is None:
                events.send = limit.send
                run = partial(limit.around, run, events.end, receive, True)
            else:
                limit.limit(None, events.end, True)
            limit.stand(self._config.timeouts.keep_alive, KEEP_ALIVE, end)
            await run()
        finally:
            limit.standing = None  # what it holds, holds it

    async def post(self, scope: dict[str, Any], body: bytes, send: Send) -> None:
        """One message of a client; its answer goes to the stream."""
        id = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [""])[0]
        inbox = self._clients.get(id)
        if inbox is None:
            raise SessionUnknown("no such stream: it ended, or never was; open a new one")
        try:
            await inbox.send(as_line(body))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self._gateway.admission.draining:
                raise Overloaded("shadowproxy is shutting down; send the request again in a moment, on a new stream") from None
            raise SessionUnknown("the stream has just ended; open a new one") from None
        await answer.send_body(send, 202, b"", ())


async def _serve(client: StdioServer, events: _Events) -> None:
    await client.run()
    await answer.end_events(events.send)


def _end(client: StdioServer, inbox: trio.MemorySendChannel[bytes], reason: str) -> None:
    """A drain: no POST is taken in any more, and those that were are answered. Anything else: those that are not are told so now."""
    inbox.close()
    if reason != "drain":
        client.hurry()


class _Lines(trio.abc.ReceiveStream):
    """The POSTs of one client, as the bytes of a pipe."""

    def __init__(self, lines: trio.MemoryReceiveChannel[bytes]) -> None:
        self._lines = lines

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            return await self._lines.receive()
        except trio.EndOfChannel:
            return b""

    async def aclose(self) -> None:
        self._lines.close()
        await trio.lowlevel.checkpoint()


class _Events(trio.abc.SendStream):
    """Lines of a pipe, as events for one client."""

    def __init__(self, send: Send) -> None:
        self.send = send

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        body = b"".join(encode_event(line) for line in bytes(data).splitlines())
        try:
            await answer.flush(self.send, body)
        except PeerGone as error:
            raise trio.BrokenResourceError(str(error)) from None

    async def end(self, reason: str) -> None:
        await answer.end_events(self.send)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
