"""The whole proxy in memory before each kind of upstream, the crowd's server behind it.

In: a kind, and how many connections or children it may have. Out: a `World`: how to connect, the server, and whether all has been given back.
`open_world` owns everything; leaving it checks that no child, no lease and no connection is left.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import attrs
import httpcore
import trio
from cancelling import FOR_EVER
from crowd.over_http import Old, Streamable
from crowd.plans import REQUEST
from crowd.server import Server
from memory_children import spawning
from peers import Handler, Peer, open_peer
from wires import Client, open_wire

from shadowproxy.config import Config, Timeouts, Upstream
from shadowproxy.connection import Connection
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.gateway import Gateway
from shadowproxy.server import open_core
from shadowproxy.service import running
from shadowproxy.sessions.table import Sessions
from shadowproxy.upstream.http import HttpUpstream
from shadowproxy.upstream.httpx_client import open_httpx
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.watch import Watch

URL = "http://server.test/mcp"
TIMES = Timeouts(request=REQUEST, queue=2)


@attrs.frozen
class Kind:
    """`share` is the setting; `carrier` is what the server speaks: stdio, http, httpx, sse2024."""

    name: str
    era: str
    carrier: str
    share: bool | None = None

    def __str__(self) -> str:
        return f"{self.name}, {self.era}"

    @property
    def private(self) -> bool:
        """Whether a session has its server, or its stream of it, for itself: what the server asks or says unasked is for that session alone."""
        return self.era == "legacy" and not self.share


KINDS: Final = (
    Kind("stdio, one child for all", "modern", "stdio"),
    Kind("stdio, leased children", "modern", "stdio", False),
    Kind("stdio, a child per session", "legacy", "stdio"),
    Kind("stdio, one child for all", "legacy", "stdio", True),
    Kind("HTTP", "modern", "http"),
    Kind("HTTP", "legacy", "http"),
    Kind("HTTP through httpx", "modern", "httpx"),
    Kind("HTTP through httpx", "legacy", "httpx"),
    Kind("HTTP of 2024-11-05", "legacy", "sse2024"),
)


@attrs.frozen
class World:
    kind: Kind
    server: Server
    connect: Callable[[], Client]
    gateway: Gateway
    sessions: Sessions
    upstream: StdioUpstream | HttpUpstream
    connections: Callable[[], int]

    def left_over(self) -> dict[str, object]:
        """What is held for somebody although nobody is there any more."""
        admission, statistics = self.gateway.admission, self.upstream.statistics()
        found: dict[str, object] = {"in flight": admission.in_flight, "waiting": admission.waiting, "connections": self.connections(), "at work": [*self.server.running],
                                    "leased": statistics.get("pool_leased", 0), "for a lease": statistics.get("pool_waiting", 0)}  # fmt: skip
        if isinstance(self.upstream, StdioUpstream):
            found |= {"leased children": self.upstream._pool.leased, "pending": len(self.upstream._modern.waiting) if self.upstream._modern else 0}
        return {name: value for name, value in found.items() if value}


@asynccontextmanager
async def open_world(kind: Kind, pool: int | None) -> AsyncIterator[World]:
    server, watch = Server(kind.era), Watch()
    async with AsyncExitStack() as stack:
        stack.callback(watch.close)
        stack.enter_context(trio.fail_after(FOR_EVER))
        config, upstream = await stack.enter_async_context(_open_upstream(kind, pool, server))
        gateway, sessions = await stack.enter_async_context(open_core(config, watch, (), upstream))
        endpoint = Endpoint(config, gateway, sessions, Origins((), (), ()))
        wire = await stack.enter_async_context(open_wire(endpoint, config.limits, config.timeouts))
        yield World(kind, server, wire.connect, gateway, sessions, upstream, lambda: wire.server.connections)


@asynccontextmanager
async def _open_upstream(kind: Kind, pool: int | None, server: Server) -> AsyncIterator[tuple[Config, StdioUpstream | HttpUpstream]]:
    if kind.carrier == "stdio":
        async with _behind_pipes(kind, pool, server) as pipes:
            yield pipes
    else:
        async with _behind_http(kind, pool, server) as http:
            yield http


@asynccontextmanager
async def _behind_pipes(kind: Kind, pool: int | None, server: Server) -> AsyncIterator[tuple[Config, StdioUpstream]]:
    config = Config(upstream=Upstream(command=("server",), share=kind.share, pool=pool), timeouts=TIMES)
    with spawning(server.program) as children:
        upstream = StdioUpstream(config)
        async with running(upstream.run):
            yield config, upstream
        assert (children.living, upstream.statistics()["children"]) == ([], 0)


@asynccontextmanager
async def _behind_http(kind: Kind, pool: int | None, server: Server) -> AsyncIterator[tuple[Config, HttpUpstream]]:
    config = Config(upstream=Upstream(url=URL, pool=pool), timeouts=TIMES)
    async with trio.open_nursery() as tasks:
        handler: Handler = Old(server, tasks) if kind.carrier == "sse2024" else Streamable(server)
        async with open_peer(handler) as peer, AsyncExitStack() as stack:
            clients = None
            if kind.carrier == "httpx":
                clients = await stack.enter_async_context(open_httpx(config, None))
                _dial(clients, peer)
            upstream = HttpUpstream(config, peer.connect, clients)
            async with running(upstream.run):
                yield config, upstream
            await stack.aclose()
            assert (upstream.statistics()["pool_leased"], peer.open) == (0, 0)
        tasks.cancel_scope.cancel(reason="the server is left")


# ---------------------------------------------------- httpx on streams in memory
def _dial(clients: Callable[[], Any], peer: Peer) -> None:
    """Its connections lead to `peer`."""
    assert isinstance(clients, partial)
    clients.args[0]._transport._pool._network_backend = Dialler(peer)


class Dialler(httpcore.AsyncNetworkBackend):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: Any = None) -> httpcore.AsyncNetworkStream:
        return Dialled(await self._peer.connect())


class Dialled(httpcore.AsyncNetworkStream):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._connection.read()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._connection.write(buffer)

    async def aclose(self) -> None:
        self._connection.abort()
        await trio.lowlevel.checkpoint()

    def get_extra_info(self, info: str) -> Any:
        return self._connection.gone if info == "is_readable" else None
