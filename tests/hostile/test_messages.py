"""Every row of `messages` through the real server, endpoint, gateway and stdio upstream, with a child made of memory behind them."""
from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from hostile.memory_client import Answer, open_raw, spelled
from hostile.rows import Row, families, whole
from memory_children import Json, MemoryChild, Nursery, spawning
from trio.testing import MockClock
from wires import Client, open_wire, request_bytes

from shadowproxy.config import Config, Upstream
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.server import open_core
from shadowproxy.service import running
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.watch import Watch

FAMILIES = families("messages")
SESSIONS = ("2025-11-25", "2025-03-26")
REGION = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "count": {"type": "integer", "x-mcp-header": "Count"},
                                           "where": {"type": "object", "properties": {"city": {"type": "string", "x-mcp-header": "City"}}}}}  # fmt: skip
TOOLS = [{"name": "add", "inputSchema": {"type": "object"}}, {"name": "where", "inputSchema": REGION}]


async def program(child: MemoryChild, message: Json) -> None:
    """A server that answers everything, in the words of its era."""
    if "id" not in message or "method" not in message:
        return
    result: Json = {"resultType": "complete"}
    match message["method"]:
        case "server/discover":
            result["supportedVersions"] = ["2026-07-28"]
        case "initialize":
            result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        case "tools/list":
            result["tools"] = TOOLS
    await child.say({"id": message["id"], "result": result})


@attrs.define
class Proxy:
    connect: Callable[[], Client]
    children: Nursery
    sessions: dict[str, str] = attrs.field(factory=dict)

    async def post(self, body: bytes, fields: list[tuple[str, str]]) -> Answer:
        known = [(name.encode(), (self.sessions[value[1:]] if value[:1] == "$" else value).encode("latin-1")) for name, value in fields]
        async with open_raw(self.connect) as raw:
            await raw.send(request_bytes("POST", "/mcp", body, known))
            await raw.settle()
            (answer,) = raw.answers(["POST"])
        return answer

    def reached(self) -> list[str]:
        """What the children were sent, less what the proxy asks on its own account."""
        lines = [line.decode("latin-1") for child in self.children.children for line in child.raw]
        for child in self.children.children:
            child.raw.clear()
        return [re.sub(r'"id":\d+', '"id":$ID', line, count=1) for line in lines if '"tools/list"' not in line and '"server/discover"' not in line]


@asynccontextmanager
async def open_front() -> AsyncIterator[Proxy]:
    config = Config(upstream=Upstream(command=("server",)))
    watch = Watch()
    try:
        with spawning(program) as children:
            upstream = StdioUpstream(config)
            async with running(upstream.run), open_core(config, watch, (), upstream) as (gateway, sessions):
                async with open_wire(Endpoint(config, gateway, sessions, Origins((), (), ())), config.limits, config.timeouts) as wire:
                    proxy = Proxy(wire.connect, children)
                    for version in SESSIONS:
                        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version, "capabilities": {}}}
                        answer = await proxy.post(json.dumps(hello).encode(), [("content-type", "application/json")])
                        proxy.sessions[version] = dict(answer.fields)[b"mcp-session-id"].decode()
                    proxy.reached()
                    yield proxy
    finally:
        watch.close()


async def wrong(rows: list[Row], *, slowly: bool = False) -> dict[str, Any]:
    found = {}
    async with open_front() as proxy:
        for row in rows:
            answer = await proxy.post(whole(row["body"]), row["fields"])
            got = {"status": answer.status, "messages": sorted(spelled(answer), key=str), "reached": proxy.reached()}
            expected = {key: row[key] for key in got}
            if got != expected:
                found[row["name"]] = f"{got}, not {expected}"
    return found


@pytest.mark.parametrize("family", FAMILIES)
async def test_messages(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family]) == {}
