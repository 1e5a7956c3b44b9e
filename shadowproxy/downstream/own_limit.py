"""The limit of an exchange whose connection lends it none: on Hypercorn's protocols, and on a server that somebody else runs.

In: what the exchange does, and `late`, which speaks in its stead. Out: it has run, or was ended by its deadline, its client's leaving, or the
server's drain. `OwnLimit.around` opens one nursery for the exchange: its scope, a reader that notices the client's leaving, a keep-alive.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send

UNDER_WAY = "shadowproxy.under_way"
"""The ASGI extension by which a server of ours that lends no limit hands out its connection's `UnderWay`."""


class UnderWay:
    """The exchanges of one connection, for the server that is to end them. It bounds every write of theirs."""

    def __init__(self) -> None:
        self.limits: set[OwnLimit] = set()
        self.draining = False

    def drain(self) -> None:
        """What stands ends politely now, and so does what begins to stand later; the rest goes on."""
        self.draining = True
        for limit in self.limits:
            if limit.standing is not None:
                limit.end("drain")

    def end(self, reason: str) -> bool:
        """Each gets its last words. False if there is nobody whom there is anything left to tell."""
        told = [limit.end(reason) for limit in self.limits]
        return any(told)


class OwnLimit:
    """Deadline and keep-alive of one exchange. `under_way` is None on a server that is not ours."""

    def __init__(self, seconds: float, send: Send, under_way: UnderWay | None) -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self.standing: Callable[[str], object] | None = None  # of a standing stream: what ends it, with the reason
        self._send, self._under_way = send, under_way
        self._quiet: tuple[float, bytes] | None = None
        self._wanted = trio.Event()
        self._head: dict[str, Any] | None = None
        self._gone = self._over = False  # the client has left; the end of the answer is on its way
        self._reason = "deadline"

    def extend(self, seconds: float) -> None:
        self.scope.deadline = trio.current_time() + seconds

    def stand(self, every: float, comment: bytes, end: Callable[[str], None] | None = None) -> None:
        """This is a standing stream: no deadline, ended by a drain, be it under way already. `end(reason)`, if given, has it end by itself."""
        self.scope.deadline, self.standing = float("inf"), end or self.cut
        self.keep_quiet_alive(every, comment)
        if self._under_way is not None and self._under_way.draining:
            self.end("drain")

    def keep_quiet_alive(self, every: float, comment: bytes) -> None:
        self._quiet = every, comment
        self._wanted.set()

    def end(self, reason: str) -> bool:
        """End it, in its own way if it has one. False if its answer is on its way already."""
        if self._over:
            return False
        (self.standing or self.cut)(reason)
        return True

    def cut(self, reason: str) -> None:
        """Cancel it, and let `late` speak instead; who came first says why."""
        if not self.scope.cancel_called:
            self._reason = reason
            self.scope.cancel(reason=reason)

    async def send(self, event: dict[str, Any]) -> None:
        """What the exchange sends: the head when there is something of the body too, so that an answer is on its way as a whole.

        Its end is the end of the comments too, however long the client takes to read it.
        """
        if event["type"] == "http.response.start":
            self._head = event
            return
        head, self._head = self._head, None
        if not event.get("more_body", False):
            self._quiet, self._over = None, True
            if self._under_way is not None:
                self.scope.deadline = float("inf")  # from here on it is the deadline of a write
        if head is not None:
            await self._send(head)
        await self._send(event)

    async def around(self, run: Callable[[], Awaitable[None]], late: Callable[[str], Awaitable[None]], receive: Callable[[], Awaitable[dict[str, Any]]],
                     cancel_when_gone: bool) -> None:  # fmt: skip
        """Run it with its deadline, a watcher and keep-alives; all of them end with it. `late(reason)`: deadline, drain or shutdown."""
        if self._under_way is not None:
            self._under_way.limits.add(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, receive, cancel_when_gone)
                nursery.start_soon(self._comments)
                with self.scope:
                    await run()
                nursery.cancel_scope.cancel(reason="the exchange is over")
            if self.scope.cancelled_caught and not self._gone and not self._over:
                await late(self._reason)
        finally:
            if self._under_way is not None:
                self._under_way.limits.discard(self)

    async def _watch(self, receive: Callable[[], Awaitable[dict[str, Any]]], cancel_when_gone: bool) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if cancel_when_gone:
            self._gone = True
            self.scope.cancel(reason="the client left")

    async def _comments(self) -> None:
        """Every so often, whether quiet or not: on a foreign server nobody knows when the last event left."""
        await self._wanted.wait()
        while self._quiet is not None:
            every, comment = self._quiet
            await trio.sleep(every)
            if self._quiet is not None:
                await answer.flush(self.send, comment)
