"""The session table: legacy sessions by id, each with an idle deadline, all of them gone when the table's service ends.

In: `initialize` exchanges. Out: `Session`s. A session outlives connections: it lives in the nursery of `run`, one small task each, whose
sleep is its idle deadline pushed forward; there is no loop that looks for the idle ones. What a session holds upstream is given back by `Session.end`.
"""
from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

import trio

from shadowproxy.errors import Overloaded, SessionUnknown
from shadowproxy.exchange import NOTHING, Exchange, Reply, Session
from shadowproxy.wire.jsonrpc import BadMessage, Message, text_of

COURTESY = 2.0
"""Seconds for telling an upstream that a session has ended, when it was not the client who said so."""


class Sessions:
    """`limit` sessions at most, each ended after `idle` seconds with nothing under way (`listening` while a GET stream is open).

    `farewell` tells the upstream of a session that ended by itself.
    """

    def __init__(self, limit: int, idle: float, listening: float, farewell: Callable[[Exchange], Awaitable[None]]) -> None:
        self._limit, self._idle, self._listening, self._farewell = limit, idle, listening, farewell
        self._table: dict[bytes, Session] = {}
        self._pending: set[Session] = set()  # begun, not yet answered by the upstream
        self._nursery: trio.Nursery | None = None
        self._streams: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._table)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the sessions until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            for session in list(self._table.values()):
                self._drop(session)

    def find(self, id: bytes) -> Session:
        """The live session of this id. Raises `SessionUnknown`: there is no such thing as the most recent session."""
        session = self._table.get(id)
        if session is None:
            raise SessionUnknown("no such session: it ended, or never was; initialize a new one")
        return session

    def prepare(self) -> Session:
        """A session for an `initialize` that is on its way. Raises `Overloaded`; `settle` must follow."""
        if len(self._table) + len(self._pending) >= self._limit:
            raise Overloaded(f"{self._limit} sessions are open (limits.sessions); try again later")
        session = Session(secrets.token_hex(16).encode(), trio.current_time())
        self._pending.add(session)
        return session

    def admit(self, exchange: Exchange, reply: Reply) -> None:
        """The upstream has answered `initialize`: from now on the session can be found, unless that answer was a refusal.

        A second `initialize` within a session is the server's affair.
        """
        session = exchange.session
        if session is None or session.id is None or session.ended or session not in self._pending:
            return
        if isinstance(reply, Message):
            if "error" in reply.members:
                session.id = None
                return
            session.version = _version_in(reply)
        self._table[session.id] = session
        session.on_leave(self._drop, session)
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, session, name=f"session {session.id[:8].decode()}")

    def settle(self, session: Session) -> None:
        """`initialize` is over, either way. A session that did not come to be gives back what it took."""
        if session not in self._pending:
            return
        self._pending.discard(session)
        if session.id is None or session.id not in self._table:
            session.end()

    def hold(self, session: Session, exchange: Exchange, *, listening: bool = False) -> None:
        """The session is in use until `exchange` is left."""
        session.busy += not listening
        if listening and session.id is not None:
            self._streams[session.id] = self._streams.get(session.id, 0) + 1
        exchange.on_leave(self._release, session, listening)

    def _release(self, session: Session, listening: bool) -> None:
        session.busy -= not listening
        if not session.busy:
            session.last_used = trio.current_time()
        if listening and session.id in self._streams:
            self._streams[session.id] -= 1
            if not self._streams[session.id]:
                del self._streams[session.id]
                if session.on_end is not None:
                    session.on_end()  # the keeper looks anew: its patience is shorter now

    async def _keep(self, session: Session) -> None:
        while not session.ended:
            patience = self._listening if session.id in self._streams else self._idle
            left = session.last_used + patience - trio.current_time()
            if session.busy:
                left = patience
            if left <= 0:
                self._table.pop(session.id or b"", None)  # nobody finds it any more: a request that came now would be cut off
                try:
                    await self._say_farewell(session)
                finally:
                    session.end()
                return
            with trio.CancelScope() as scope:
                session.on_end = scope.cancel
                await trio.sleep(left)

    async def _say_farewell(self, session: Session) -> None:
        with trio.move_on_after(COURTESY), Exchange(NOTHING, "legacy", session, ()) as exchange:  # noqa: ASYNC912 - an upstream may have nothing to wait for
            try:
                await self._farewell(exchange)
            except Exception:  # noqa: S110 -- a courtesy: the session is over either way
                pass

    async def close(self) -> None:
        """At shutdown: say farewell to all, at once, within `COURTESY`; then they end."""
        with trio.move_on_after(COURTESY):
            async with trio.open_nursery() as farewells:
                for session in list(self._table.values()):
                    farewells.start_soon(self._say_farewell, session)
        for session in list(self._table.values()):
            session.end()

    def _drop(self, session: Session) -> None:
        if session.id is not None:
            self._table.pop(session.id, None)
            self._streams.pop(session.id, None)
        session.end()
        if session.on_end is not None:
            session.on_end()


def _version_in(reply: Message) -> str | None:
    try:
        return text_of(reply.result().get("protocolVersion", b""))
    except BadMessage:
        return None
