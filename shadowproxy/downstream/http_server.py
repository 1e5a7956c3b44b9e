"""The HTTP server: every accepted connection in a task of its own, one sweeper for all their deadlines, a drain.

In: `Connection`s from `trio.serve_listeners`, an ASGI app. Out: requests served. `serve` owns one connection and closes it;
`sweep` is a service of whoever opened the server; `drain` and `abort` are synchronous and leave the tasks to their nursery.
"""
from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Protocol

import trio

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import LINGER, Connection, PeerGone
from shadowproxy.downstream.http1 import App, Http1, Http2
from shadowproxy.downstream.http1_request import canned
from shadowproxy.downstream.tls_connection import TlsConnection

log = logging.getLogger("shadowproxy")

SWEEP = 0.25
"""Seconds between two looks at the deadlines: each is late by this at most, and none costs a cancel scope per request."""

TURNING_AWAY = 100
"""Connections past the limit that are told so at once, each for a few seconds at most; those beyond are dropped without a word."""


class Engine(Protocol):
    """What serves one connection: ours, or Hypercorn's. `begun`: a part of an answer is out already."""

    @property
    def begun(self) -> bool: ...

    async def run(self) -> None: ...
    def sweep(self, now: float) -> None: ...
    def drain(self) -> None: ...
    def cancel(self, reason: str) -> None: ...


class HttpServer:
    """Serves `app` on whatever connections it is given. `engine` is for HTTP/1.1: "native" or "hypercorn"."""

    def __init__(self, app: App, limits: Limits, timeouts: Timeouts, engine: str = "native") -> None:
        self._app, self._limits, self._timeouts, self._engine = app, limits, timeouts, engine
        self._live: set[Engine] = set()
        self._some = trio.Event()  # there is a connection to look after
        self._none = trio.Event()
        self._draining = False
        self._turning_away = 0
        self._open = 0  # accepted, handshakes under way included
        self.refused = 0

    @property
    def connections(self) -> int:
        return self._open

    async def serve(self, connection: Connection) -> None:
        """The connection boundary: what goes wrong here ends this connection and nothing else."""
        if self._draining or self._open >= self._limits.connections:
            return await self._turn_away(connection)
        self._open += 1
        engine: Engine | None = None
        try:
            alpn = await connection.handshake(self._timeouts.head) if isinstance(connection, TlsConnection) else "http/1.1"
            engine = self._engine_for(connection, alpn)
            try:
                await self._run(engine)
            except Http2 as beginning:
                engine = self._engine_for(connection, "h2", beginning.first)
                await self._run(engine)
        except PeerGone:
            pass
        except Exception:
            log.exception("a request failed in a way that is a bug of shadowproxy; its connection was closed")
            if engine is not None and not engine.begun:
                await self._last_word(connection, 500, "internal error of shadowproxy; see its log")  # noqa: ASYNC120 - cancelled, there is nobody left to tell
        finally:
            self._open -= 1
            connection.on_gone = None
            connection.abort()

    def _engine_for(self, connection: Connection, alpn: str, first: bytes = b"") -> Engine:
        if self._draining:  # it has begun during the handshake, or the preface
            raise PeerGone("shutting down")
        if alpn == "h2" or self._engine == "hypercorn":
            return self._hypercorn(connection, alpn, first)
        return Http1(connection, self._app, self._base(connection), self._limits, self._timeouts)

    async def _run(self, engine: Engine) -> None:
        self._live.add(engine)
        self._some.set()
        try:
            await engine.run()
        finally:
            self._live.discard(engine)
            if not self._live:
                self._none.set()

    def _hypercorn(self, connection: Connection, alpn: str, first: bytes) -> Engine:
        from shadowproxy.downstream.h2 import HypercornConnection  # only who speaks HTTP/2 pays for its import

        return HypercornConnection(connection, self._app, self._base(connection), self._limits, self._timeouts, alpn, first)

    def _base(self, connection: Connection) -> dict[str, Any]:
        base: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "scheme": "http", "root_path": "", "client": connection.peer,
                "server": None, "state": {}}  # fmt: skip
        if isinstance(connection, TlsConnection):
            base["scheme"] = "https"
            base["extensions"] = {"tls": {"client_cert_name": connection.subject}}  # the ASGI TLS extension, as far as it is of use
        return base

    async def _turn_away(self, connection: Connection) -> None:
        """Say why, if not too many are being told already, and let it be read: the client is about to send its request."""
        self.refused += 1
        text = "shutting down" if self._draining else f"{self._limits.connections} connections are open (limits.connections)"
        try:
            if self._turning_away >= TURNING_AWAY:
                return await trio.lowlevel.checkpoint()
            self._turning_away += 1
            try:
                if isinstance(connection, TlsConnection):
                    await connection.handshake(LINGER)
                await self._last_word(connection, 503, text + "; try again later")
            finally:
                self._turning_away -= 1
        except PeerGone:
            pass
        finally:
            connection.abort()

    async def _last_word(self, connection: Connection, status: int, text: str) -> None:
        with suppress(PeerGone):
            await connection.write(canned(status, text))
            await connection.finish()

    async def sweep(self) -> None:
        """Look after all connections' deadlines, for ever. Sleeps while there are none."""
        while True:
            if not self._live:
                self._some = trio.Event()
                await self._some.wait()
            await trio.sleep(SWEEP)
            now = trio.current_time()
            for http in list(self._live):
                http.sweep(now)

    def drain(self) -> None:
        """Idle connections close, standing streams end, the others close after the answer under way."""
        self._draining = True
        for http in list(self._live):
            http.drain()

    async def drained(self) -> None:
        """Wait until no connection is left."""
        while self._live:
            if self._none.is_set():  # else somebody waits already
                self._none = trio.Event()
            await self._none.wait()

    def cancel(self, reason: str) -> None:
        """End every exchange under way; each client is told."""
        for http in list(self._live):
            http.cancel(reason)
