"""GOAWAY: the end of an HTTP/2 connection, so that its client knows which of its requests were looked at (RFC 9113, 6.8).

In: Hypercorn's protocol of the connection, and a way to write. Out: streams that begin after `begin` reach nobody; the first of them is answered with
GOAWAY, which says so, and its client may send it again elsewhere. Who opens none hears it last of all (`say`). Owns no task.

It is said no sooner than that on purpose. The RFC would have it at once, while streams go on; but a client on top of Python's h2 (httpx among them)
takes the frame for the end of the connection and drops the answers that are still under way, and just those a drain is to wait for. Nor does the server's
half of h2 send anything after a GOAWAY, its own or the client's: ours is written beside it, and one of a client that is in peace with us (Node's answer
to ours, and its way to close) is kept from it, so that the client gets what it still waits for.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from h2.events import DataReceived, Event, RequestReceived

_KIND = 7
_FRAME = b"\0\0\x08\x07\0\0\0\0\0%b\0\0\0\0"
"""A GOAWAY of eight bytes, on stream 0, NO_ERROR."""


class GoAway:
    """Of one connection. `write` takes whole frames; `on_leaving` is called when the client has said that it will open no more streams."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], on_leaving: Callable[[], None]) -> None:
        self._write, self._on_leaving = write, on_leaving
        self._protocol: Any = None
        self._last: int | None = None  # the newest stream that is served
        self._said = False

    def watch(self, protocol: Any) -> None:
        """See its events before it does. Does nothing if it is watched already, or is no HTTP/2."""
        if self._protocol is None and hasattr(protocol, "connection") and hasattr(protocol, "stream_buffers"):
            self._protocol = protocol
            protocol._handle_events = partial(self._handle, protocol._handle_events)
            table = protocol.connection._frame_dispatch_table
            kind = next(kind for kind in table if kind.type == _KIND)
            table[kind] = partial(self._heard, table[kind])

    @property
    def watching(self) -> bool:
        return self._protocol is not None

    @property
    def begun(self) -> bool:
        return self._last is not None

    @property
    def flushed(self) -> bool:
        """Whether all that was answered has been written."""
        return not self._protocol.stream_buffers

    def begin(self) -> None:
        """What has arrived by now is served, nothing that comes later."""
        if self._last is None and self._protocol is not None:
            self._last = self._protocol.connection.highest_inbound_stream_id

    async def say(self) -> None:
        """Tell the client, if it has not been told."""
        if frame := self.owed():
            await self._write(frame)

    def owed(self) -> bytes:
        """What it is to be told, for who sends that himself; b"" if it was told already, or speaks no HTTP/2."""
        self.begin()
        if self._said or self._last is None:
            return b""
        self._said = True
        return _FRAME % self._last.to_bytes(4)

    def _heard(self, close: Callable[[Any], tuple[list[Any], list[Event]]], frame: Any) -> tuple[list[Any], list[Event]]:
        """The client's own GOAWAY. After an error there is nothing to wait for."""
        if frame.error_code:
            return close(frame)
        self.begin()
        self._on_leaving()
        return [], []

    async def _handle(self, handle: Callable[[Sequence[Event]], Awaitable[None]], events: Sequence[Event]) -> None:
        if self._last is not None:
            events = [event for event in events if (getattr(event, "stream_id", None) or 0) <= self._last or await self._refused(event)]
        await handle(events)

    async def _refused(self, event: Event) -> bool:
        """Of a stream that is not served. What it holds of the connection's window is given back, for the others' sake."""
        if isinstance(event, RequestReceived):
            await self.say()
        elif isinstance(event, DataReceived) and event.flow_controlled_length:
            self._protocol.connection.increment_flow_control_window(event.flow_controlled_length)
        return False
