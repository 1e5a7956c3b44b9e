"""A talk: one legacy session of the tape, live; or one exchange of the modern era, which is all there is to it.

In: what the client said there. Out: the same to the upstream, as a client on stdio would. Owns the live session, which is over when `end` returns, or with
`close` at once; runs in its caller's tasks. What comes crosses in its `Crossing`.
"""
from __future__ import annotations

from collections.abc import Callable

import trio

from shadowproxy.errors import ProxyError
from shadowproxy.exchange import NOTHING, Exchange, Session, Upstream
from shadowproxy.tape.verifying.crossing import Crossing
from shadowproxy.wire.jsonrpc import BadMessage, Message

FAREWELL = 2.0
"""Seconds for telling the upstream that a session is over."""


class Talk:
    """`session` None: an exchange of the modern era."""

    def __init__(self, upstream: Upstream, session: Session | None, crossing: Crossing) -> None:
        self._upstream, self.session, self.crossing = upstream, session, crossing
        self._listening, self._stream = False, trio.CancelScope()

    def exchange(self, message: Message) -> Exchange:
        return Exchange(message, "modern" if self.session is None else "legacy", self.session)

    async def say(self, message: Message, patience: float) -> str:
        """Send what has no answer. Why it was not taken; empty if it was."""
        try:
            with trio.move_on_after(patience) as deadline, self.exchange(message) as exchange:
                await self._upstream.notify(exchange)
        except (ProxyError, BadMessage) as error:
            return str(error)
        return f"not taken within {patience:g} s" if deadline.cancelled_caught else ""

    async def listen(self, arrived: Callable[[Message], None], opened: trio.Event) -> None:
        """Hear what the server says unasked, until the session is over; once is enough."""
        if self._listening:
            return opened.set()
        self._listening = True
        with self._stream, self.exchange(NOTHING) as exchange:
            try:
                replies = await self._upstream.listen(exchange)
                opened.set()
                async for item in replies:
                    if isinstance(item, Message):
                        arrived(item)
            except (ProxyError, BadMessage):
                pass  # what was recorded on this stream will be missing, if anything was
            finally:
                opened.set()

    async def end(self) -> None:
        """The session is over: the upstream is told, and what was still to come is given up."""
        with trio.move_on_after(FAREWELL), self.exchange(NOTHING) as exchange:  # noqa: ASYNC912 - an upstream may have nothing to wait for
            try:
                await self._upstream.end(exchange)
            except ProxyError:
                pass  # not every server lets a client end it
        self._stream.cancel(reason="the session is over")
        self.crossing.settle()
        self.close()

    def close(self) -> None:
        if self.session is not None:
            self.session.end()
