"""A stdio upstream whose children are real: `tests/real/servers/actor.py`, told by its tools what to do.

In: traits of the server, settings. Out: the upstream, running. Leaving it checks that no child of it is left.
"""
from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from dialogue import LEGACY, Json, all_of, legacy, modern
from programs import PATIENCE, ROOT

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.exchange import Exchange, Session
from shadowproxy.service import running
from shadowproxy.upstream.stdio import StdioUpstream

ACTOR = (sys.executable, "-IS", str(ROOT / "tests" / "real" / "servers" / "actor.py"))
GRACE = 0.5
TIMEOUTS, LIMITS = Timeouts(child_grace=GRACE), Limits()
NO_META: Json = {}


@asynccontextmanager
async def actors(*traits: str, timeouts: Timeouts = TIMEOUTS, limits: Limits = LIMITS, **settings: Any) -> AsyncIterator[StdioUpstream]:
    settings = {"command": (*ACTOR, *traits), "warm": 0, **settings}
    upstream = StdioUpstream(Config(upstream=Upstream(**settings), timeouts=timeouts, limits=limits))
    with trio.fail_after(3 * PATIENCE):
        async with running(upstream.run):
            await trio.testing.wait_all_tasks_blocked()
            yield upstream
        assert upstream.statistics()["children"] == 0


def tool(name: str, id: Any = 1, *, meta: Json = NO_META, **arguments: Any) -> Exchange:
    return modern("tools/call", {"name": name, "arguments": arguments}, id, meta=meta)


def old_tool(session: Session, name: str, id: Any = 1, *, meta: Json = NO_META, **arguments: Any) -> Exchange:
    return legacy("tools/call", {"name": name, "arguments": arguments, "_meta": meta}, id, session)


async def ask(upstream: StdioUpstream, exchange: Exchange) -> list[Json]:
    """Every message of the reply, the exchange left."""
    with exchange:
        return await all_of(await upstream.call(exchange))


async def result(upstream: StdioUpstream, exchange: Exchange) -> Json:
    found: Json = (await ask(upstream, exchange))[-1]["result"]
    return found


async def begun(upstream: StdioUpstream) -> Session:
    """A legacy session after its handshake."""
    session = Session(b"s")
    await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, session))
    return session


def running_still(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
