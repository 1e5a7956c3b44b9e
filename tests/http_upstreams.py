"""An HTTP upstream whose server is a handler, at the other end of memory streams.

In: a handler and settings. Out: the upstream, running, and its peer. Leaving it checks that nothing is leased and that no connection is left.
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from cancelling import FOR_EVER
from dialogue import Json, all_of
from peers import Handler, Peer, open_peer

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.exchange import Exchange
from shadowproxy.service import running
from shadowproxy.upstream.http import HttpUpstream

URL = "http://server.test/mcp?key=1"
TIMEOUTS, LIMITS = Timeouts(), Limits()


@asynccontextmanager
async def upstream_for(handler: Handler, *, timeouts: Timeouts = TIMEOUTS, limits: Limits = LIMITS,
                       **settings: Any) -> AsyncIterator[tuple[HttpUpstream, Peer]]:  # fmt: skip
    """An upstream whose server is `handler`. At the end nothing is leased, and no connection outlives it."""
    with trio.fail_after(FOR_EVER):
        async with _upstream(handler, Config(upstream=Upstream(url=URL, **settings), timeouts=timeouts, limits=limits)) as both:
            yield both


@asynccontextmanager
async def _upstream(handler: Handler, config: Config) -> AsyncIterator[tuple[HttpUpstream, Peer]]:
    async with open_peer(handler) as peer:
        upstream = HttpUpstream(config, peer.connect)
        async with running(upstream.run):
            yield upstream, peer
            assert upstream.statistics()["pool_leased"] == 0
        assert peer.open == 0


async def ask(upstream: HttpUpstream, exchange: Exchange) -> list[Json]:
    """Every message of the reply, the exchange left."""
    with exchange:
        return await all_of(await upstream.call(exchange))
