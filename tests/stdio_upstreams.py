"""A stdio upstream whose children are made of memory, and the server that runs in them: all of MCP that correlation needs, in both eras.

In: settings. Out: the upstream, running, and where its children are. Leaving it checks that no child and no permit is left.
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from cancelling import FOR_EVER
from dialogue import LEGACY, MODERN, Json, all_of, legacy
from memory_children import MemoryChild, Nursery, Program, spawning

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.exchange import Exchange, Session
from shadowproxy.service import running
from shadowproxy.upstream.stdio import StdioUpstream

TIMEOUTS, LIMITS = Timeouts(), Limits()


async def server(child: MemoryChild, message: Json) -> None:
    """Knows both eras. `tools/call` does what its name says."""
    if "id" not in message or "method" not in message:
        return
    wire, params = message["id"], message.get("params", {})
    match message["method"]:
        case "initialize":
            await child.say({"id": wire, "result": {"protocolVersion": params.get("protocolVersion", LEGACY), "capabilities": {}, "pid": child.pid}})
        case "server/discover":
            await child.say({"id": wire, "result": {"supportedVersions": [MODERN], "capabilities": {}}})
        case "tools/list":
            await child.say({"id": wire, "result": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}})
        case "tools/call":
            await tool(child, wire, params)
        case _:
            await child.say({"id": wire, "error": {"code": -32601, "message": "Method not found"}})


async def legacy_server(child: MemoryChild, message: Json) -> None:
    """Knows the handshake only."""
    if message.get("method") == "server/discover":
        return await child.say({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
    await server(child, message)


async def tool(child: MemoryChild, id: Any, params: Json) -> None:
    arguments = params.get("arguments", {})
    match params["name"]:
        case "die":
            return child.exit(arguments.get("status", 1), "what a day")
        case "hang":
            return
        case "progress":
            await child.say({"method": "notifications/progress", "params": {"progressToken": params["_meta"]["progressToken"], "progress": 1}})
    await trio.sleep(arguments.get("delay", 0))
    await child.say({"id": id, "result": {"pid": child.pid, "said": arguments.get("say")}})


@asynccontextmanager
async def upstream_of(program: Program = server, *, timeouts: Timeouts = TIMEOUTS, limits: Limits = LIMITS, stdio: bool = False,
                      refusal: str | None = None, **settings: Any) -> AsyncIterator[tuple[StdioUpstream, Nursery]]:  # fmt: skip
    config = Config(upstream=Upstream(command=("the-server",), **settings), timeouts=timeouts, limits=limits, stdio=stdio)
    with spawning(program) as nursery, trio.fail_after(FOR_EVER):
        nursery.refusal = refusal
        upstream = StdioUpstream(config)
        async with running(upstream.run):
            await trio.testing.wait_all_tasks_blocked()
            yield upstream, nursery
        assert nursery.living == []
        assert upstream.statistics()["children"] == 0


async def ask(upstream: StdioUpstream, exchange: Exchange) -> list[Json]:
    """Every message of the reply, the exchange left."""
    with exchange:
        return await all_of(await upstream.call(exchange))


async def begun(upstream: StdioUpstream, name: bytes = b"s") -> Session:
    """A legacy session after its handshake."""
    session = Session(name)
    await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, session))
    return session
