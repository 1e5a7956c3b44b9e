"""The one place that puts the rooms together: a proxy that is opened, drained and left.

In: a `Config`. Out: a `Proxy` inside an `async with`, or `serve` for a nursery. Dependencies are entered first and so leave last: watch, upstream,
sessions, downstream; the reading order is the shutdown order, reversed. Leaving the block is shutdown: nothing survives it.
Touches neither signals nor logging configuration; speaks on standard input and output only when the settings say so.

Shutdown in stages, each bounded (docs/design.md): drain (`timeouts.drain`) -> last words to who still waits (`LAST_WORDS`) ->
farewell to upstream sessions (2 s) -> what is queued on standard output is read, if its input's end began all this (2 s) ->
connections aborted -> children stopped (2 x `timeouts.child_grace`).
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from shadowproxy.admission import Admission
from shadowproxy.config import Config, Replay
from shadowproxy.downstream.http_server import HttpServer
from shadowproxy.downstream.listen import UNIX, Listener, open_sockets, split_address
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.downstream.standard_streams import open_standard_streams
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.downstream.tls import Certificates
from shadowproxy.exchange import Interceptor, Upstream
from shadowproxy.gateway import Gateway
from shadowproxy.service import AsItself, running
from shadowproxy.sessions.table import Sessions
from shadowproxy.upstream.connect import connector
from shadowproxy.upstream.http import HttpUpstream
from shadowproxy.upstream.http_clients import open_clients
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.watch import Watch

if TYPE_CHECKING:
    from shadowproxy.tape.recording.recorder import Recorder
    from shadowproxy.tape.replaying.replay import TapeUpstream

LAST_WORDS = 1.0
"""Seconds for telling the clients of unfinished exchanges that they will not be finished."""


@asynccontextmanager
async def open_upstream(config: Config, watch: Watch) -> AsyncIterator[HttpUpstream | StdioUpstream | TapeUpstream]:
    """What stands behind the proxy, running; left, its connections are closed and its children gone. Raises `ConfigError` for a tape that is none."""
    if config.upstream.tape is not None:
        from shadowproxy.tape.replaying.replay_opening import open_replay  # only who replays pays for its import

        async with AsyncExitStack() as stack:
            live = None
            if config.upstream.live:  # nothing is spawned before it is needed
                behind = attrs.evolve(config, upstream=attrs.evolve(config.upstream, tape=None, warm=0), replay=Replay())
                live = await stack.enter_async_context(open_upstream(behind, watch))
            yield await stack.enter_async_context(open_replay(Path(config.upstream.tape), config.replay, live))
    elif config.upstream.url is not None:
        connect = connector(config.upstream.url, watch, config.timeouts.write)
        async with open_clients(config) as clients:
            upstream = HttpUpstream(config, connect, clients)
            async with running(upstream.run):
                yield upstream
    else:
        children = StdioUpstream(config)
        async with running(children.run):
            yield children


@asynccontextmanager
async def open_recording(config: Config, interceptors: Sequence[Interceptor]) -> AsyncIterator[tuple[Sequence[Interceptor], Recorder | None]]:
    """The onion, with a recorder in it if the settings want one; left, its tapes are written and closed. Raises `ConfigError`."""
    if config.record is None:
        yield interceptors, None
        return
    from shadowproxy.tape.recording.opening import name_of, open_recorder  # only who records pays for its import

    async with open_recorder(config.record, name_of(config)) as recorder:
        yield recorder.around(interceptors), recorder


@asynccontextmanager
async def open_core(config: Config, watch: Watch, interceptors: Sequence[Interceptor], upstream: Upstream) -> AsyncIterator[tuple[Gateway, Sessions]]:
    """Gateway and sessions over an upstream."""
    limits, timeouts = config.limits, config.timeouts
    gateway = Gateway(upstream, Admission(limits.exchanges, limits.queue, timeouts.queue), interceptors)
    sessions = Sessions(limits.sessions, timeouts.session_idle, timeouts.session_listening, gateway.end)
    async with running(sessions.run):
        try:
            yield gateway, sessions
        finally:
            gateway.admission.draining = True


class Proxy:
    """A running proxy. `addresses` are the URLs that clients use; empty when it only speaks on stdio."""

    def __init__(self, config: Config, gateway: Gateway, sessions: Sessions, upstream: HttpUpstream | StdioUpstream | TapeUpstream) -> None:
        self._config, self._gateway, self._sessions, self._upstream = config, gateway, sessions, upstream
        self.addresses: tuple[str, ...] = ()
        self.http: HttpServer | None = None
        self.stdio: StdioServer | None = None
        self.recorder: Recorder | None = None
        self._accepting = trio.CancelScope()
        self._drained: trio.Event | None = None

    async def drain(self) -> None:
        """Take nothing new and let what is under way finish, for `timeouts.drain` seconds at most; then tell the rest, and the upstream.

        A second call waits for the first. The block is left afterwards.
        """
        if self._drained is not None:
            await self._drained.wait()
            return
        self._drained = trio.Event()
        try:
            self._stop_taking()
            with trio.move_on_after(self._config.timeouts.drain):
                await self._idle()
            if self.http is not None:
                self.http.cancel("shutdown")
            with trio.move_on_after(LAST_WORDS):
                await self._idle()
            await self._sessions.close()
        finally:
            self._drained.set()

    def _stop_taking(self) -> None:
        self._accepting.cancel(reason="drain")
        self._gateway.admission.draining = True
        if self.http is not None:
            self.http.drain()
        if self.stdio is not None:
            self.stdio.drain()

    async def _idle(self) -> None:
        if self.http is not None:
            await self.http.drained()
        if self.stdio is not None:
            await self.stdio.finished()

    async def finished(self) -> None:
        """Wait until there is nothing left to serve: the stdio client's input has ended and is answered. With a listener: for ever."""
        if self.stdio is None or self.http is not None:
            await trio.sleep_forever()
        else:
            await self.stdio.finished()

    def statistics(self) -> dict[str, int]:
        """Counts of the moment: exchanges, connections, sessions, what the upstream holds, what a recording has written and dropped."""
        admission = self._gateway.admission
        counts = {"exchanges": admission.in_flight, "exchanges_waiting": admission.waiting, "exchanges_refused": admission.refused,
                  "connections": 0 if self.http is None else self.http.connections, "sessions": len(self._sessions)}  # fmt: skip
        return {**counts, **self._upstream.statistics(), **({} if self.recorder is None else self.recorder.statistics())}


@asynccontextmanager
async def open_proxy(config: Config, *, interceptors: Sequence[Interceptor] = ()) -> AsyncIterator[Proxy]:
    """A proxy that serves while the block runs, and has left nothing behind when the block has ended.

    Leaving the block at once ends what is under way; `await proxy.drain()` first to let it finish. `interceptors`: outermost first.
    Raises `CannotListen`, `BadCertificate` or `ConfigError` before anything has started. What the block raises leaves it as itself.
    """
    certificates = None if config.tls is None else Certificates(config.tls)
    if config.upstream.tape is not None:
        from shadowproxy.tape.replaying.replay_opening import check  # as below

        check(Path(config.upstream.tape))
    sockets = await open_sockets(config.listen)
    watch = Watch()
    async with AsyncExitStack() as stack:
        user = stack.enter_context(AsItself())
        stack.callback(watch.close)
        listeners = [Listener(sock, watch, config.timeouts.write, certificates) for sock in sockets]
        for listener in listeners:
            stack.callback(listener.close)
        interceptors, recorder = await stack.enter_async_context(open_recording(config, interceptors))
        await stack.enter_async_context(running(watch.run))
        upstream = await stack.enter_async_context(open_upstream(config, watch))
        gateway, sessions = await stack.enter_async_context(open_core(config, watch, interceptors, upstream))
        proxy = Proxy(config, gateway, sessions, upstream)
        proxy.recorder = recorder
        standard = stack.enter_context(open_standard_streams()) if config.stdio else None
        connections = await stack.enter_async_context(_open_connections())
        if listeners:
            _listen(proxy, config, Endpoint(config, gateway, sessions, _origins(config)), listeners, connections)
        if standard is not None:
            proxy.stdio = StdioServer(config, gateway, *standard)
            connections.start_soon(proxy.stdio.run)
        with user.block():
            yield proxy


@asynccontextmanager
async def _open_connections() -> AsyncIterator[trio.Nursery]:
    """The nursery of everything that faces a client; cancelled when the block is left."""
    async with trio.open_nursery() as connections:
        yield connections
        connections.cancel_scope.cancel(reason="the proxy is left")


def _origins(config: Config) -> Origins:
    return Origins([split_address(text)[0] for text in config.listen if not text.startswith(UNIX)], config.allowed_hosts, config.allowed_origins)


def _listen(proxy: Proxy, config: Config, endpoint: Endpoint, listeners: list[Listener], connections: trio.Nursery) -> None:
    server = proxy.http = HttpServer(endpoint, config.limits, config.timeouts, config.http_engine)
    proxy.addresses = tuple(f"{listener.url}{config.path}" if listener.url[:5] != UNIX else listener.url for listener in listeners)

    async def accept() -> None:
        with proxy._accepting:
            taking: Any = listeners  # typed for streams, of which `serve_listeners` asks no more than `aclose`
            await trio.serve_listeners(server.serve, taking, handler_nursery=connections)

    connections.start_soon(accept)
    connections.start_soon(server.sweep)


async def serve(config: Config, *, interceptors: Sequence[Interceptor] = (), task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled, or until there is nothing left to serve: `proxy = await nursery.start(shadowproxy.serve, config)`."""
    async with open_proxy(config, interceptors=interceptors) as proxy:
        task_status.started(proxy)
        await proxy.finished()
        await proxy.drain()
