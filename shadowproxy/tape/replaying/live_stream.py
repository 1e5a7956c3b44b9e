"""What the live server says unasked, on its way to a client whose tape has nothing of it.

In: a stream of the live server's, once the client's session has begun there. Out: its messages, one at a time: for a playback that puts them among the
tape's, or as `Replies` where the tape has no such stream. `LiveServer` begins it, in its nursery, and stops it when the client leaves.
"""
from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from shadowproxy.errors import ProxyError, UpstreamAnswered
from shadowproxy.exchange import NOTHING, Exchange, Headers, Listen, Session
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

log = logging.getLogger("shadowproxy")


class LiveStream:
    """Set `ring` to be told when there is something to take. `headers`: the client's."""

    def __init__(self, headers: Headers | None) -> None:
        self._headers = headers
        self._bell, self._room = trio.Event(), trio.Event()
        self._item: Message | Event | None = None
        self._refusal: ProxyError | None = None
        self._over = False
        self._opened: trio.Event | None = None
        self._scope = trio.CancelScope()
        self.ring: Callable[[], None] = lambda: self._bell.set()

    # ------------------------------------------------ from the live server
    def begin(self, nursery: trio.Nursery, listen: Listen, session: Session) -> trio.Event:
        """The session with the live server has begun, or begun anew. Gives what is set when the stream is there, or was refused."""
        self.stop("the live session has begun anew")
        self._over, self._refusal, self._scope, self._opened = False, None, trio.CancelScope(), trio.Event()
        nursery.start_soon(self._carry, listen, session, self._scope, self._opened)
        return self._opened

    def stop(self, reason: str) -> None:
        self._scope.cancel(reason=reason)

    async def _carry(self, listen: Listen, session: Session, scope: trio.CancelScope, opened: trio.Event) -> None:
        with scope, Exchange(NOTHING, "legacy", session, self._headers) as exchange:
            try:
                replies = await listen(exchange)
                opened.set()
                async for item in replies:
                    await self._put(item)
            except ProxyError as error:
                self._refusal = None if opened.is_set() else error
                level = logging.DEBUG if isinstance(error, UpstreamAnswered) else logging.WARNING
                log.log(level, "what the live server says unasked is not to be had", extra={"reason": error.message})
            finally:
                opened.set()
            self._over = True
            self.ring()

    async def _put(self, item: Message | Event) -> None:
        while self._item is not None:
            self._room = trio.Event()
            await self._room.wait()
        self._item = item
        self.ring()

    # ------------------------------------------------ to the client
    def take(self) -> Message | Event | None:
        """What has come; None if nothing has."""
        item, self._item = self._item, None
        self._room.set()
        return item

    async def admitted(self) -> None:
        """Wait for the live server's word, if its session has begun. Raises `ProxyError` if it offers no such stream."""
        if self._opened is not None:
            await self._opened.wait()
        if self._refusal is not None:
            raise self._refusal

    def __aiter__(self) -> LiveStream:
        return self

    async def __anext__(self) -> Message | Event:
        await trio.lowlevel.checkpoint()
        while (item := self.take()) is None:
            if self._over:
                raise StopAsyncIteration
            self._bell = trio.Event()
            await self._bell.wait()
        return item
