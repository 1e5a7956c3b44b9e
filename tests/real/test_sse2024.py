"""The transport of 2024-11-05 on both sides, with the SDK's own client and server of it."""
from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from mcp import Client, ClientSession
from mcp.client.sse import sse_client
from programs import Program, free_port, until

from shadowproxy import Config, Limits, Proxy, Upstream, open_proxy

OLD_SERVER = """
import sys
from mcp.server.mcpserver import Context, MCPServer
mcp = MCPServer("old")
@mcp.tool()
def add(a: int, b: int) -> str: return str(a + b)
@mcp.tool()
async def work(ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    return "done"
mcp.run(transport="sse", host="127.0.0.1", port=int(sys.argv[1]))
"""
DEMO = Upstream(command=(sys.executable, "-m", "shadowproxy.cli.demo_server"), warm=0)


@asynccontextmanager
async def old_server() -> AsyncIterator[str]:
    port = free_port()
    with Program([sys.executable, "-c", OLD_SERVER, str(port)]):
        await until(lambda: _accepts(port))
        yield f"http://127.0.0.1:{port}/sse"


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def sse_of(proxy: Proxy) -> str:
    return proxy.addresses[0].replace("/mcp", "/sse")


async def test_an_old_client_at_a_stdio_server() -> None:
    async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=DEMO)) as proxy, sse_client(sse_of(proxy)) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            assert (await session.call_tool("echo", {"text": "hello"})).content[0].text == "hello"  # type: ignore[union-attr]  # a text
            assert (await session.call_tool("fail", {})).is_error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK's client leaves its event streams to the collector
async def test_a_new_client_at_an_old_server() -> None:
    async with old_server() as url, open_proxy(Config(listen=("127.0.0.1:0",), upstream=Upstream(url=url))) as proxy:
        for _ in range(2):  # the second time the proxy knows what the server speaks
            seen: list[float] = []
            note = partial(_note, seen)
            async with Client(proxy.addresses[0], mode="legacy") as client:
                assert (await client.call_tool("add", {"a": 2, "b": 3})).content[0].text == "5"  # type: ignore[union-attr]  # a text
                await client.call_tool("work", {}, progress_callback=note)
            assert seen == [1.0]


async def _note(seen: list[float], progress: float, total: float | None, message: str | None) -> None:
    seen.append(progress)


async def test_an_old_client_at_an_old_server() -> None:
    async with old_server() as url, open_proxy(Config(listen=("127.0.0.1:0",), upstream=Upstream(url=url))) as proxy:
        async with sse_client(sse_of(proxy)) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            assert (await session.call_tool("add", {"a": 2, "b": 3})).content[0].text == "5"  # type: ignore[union-attr]  # a text


async def test_the_endpoint_is_named_on_our_own_origin_and_serves_the_stream_that_named_it() -> None:
    async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=DEMO)) as proxy, httpx.AsyncClient(trust_env=False) as client:
        async with open_stream(proxy) as events:
            head = await events("endpoint")
            endpoint = head.rpartition("data: ")[2].strip()
            assert not urlsplit(endpoint).netloc
            ask = {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {}}
            base = sse_of(proxy).removesuffix("/sse")
            assert (await client.post(base + endpoint, json=ask)).status_code == 202
            await events('"id":7')
        missing = await client.post(base + "/sse/messages?session_id=0", json=ask)
        assert missing.status_code == 404
        assert "open a new one" in missing.json()["error"]["message"]
        assert (await client.put(sse_of(proxy))).status_code == 405


async def test_streams_are_bounded_and_end_with_the_drain() -> None:
    config = Config(listen=("127.0.0.1:0",), upstream=DEMO, limits=Limits(sessions=1))
    async with open_proxy(config) as proxy, httpx.AsyncClient(trust_env=False, timeout=20) as client, open_stream(proxy) as events:
        await events("endpoint")
        assert (await client.get(sse_of(proxy))).status_code == 503
        with trio.fail_after(20):
            await proxy.drain()
            await events("\r\n0\r\n\r\n")  # a proper end, not a broken connection


#: It answers a call when the file is there that it was told of.
WAITER = """
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    while message.get("method") == "tools/call" and not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2024-11-05", "capabilities": {}}}), flush=True)
"""


async def test_a_call_that_was_accepted_is_answered_although_we_drain(tmp_path: Path) -> None:
    waiter = Upstream(command=(sys.executable, "-c", WAITER, str(tmp_path / "go")), warm=0)
    async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=waiter)) as proxy, httpx.AsyncClient(trust_env=False, timeout=20) as client:
        async with open_stream(proxy) as events, trio.open_nursery() as nursery:
            url = sse_of(proxy).removesuffix("/sse") + (await events("endpoint")).rpartition("data: ")[2].strip()
            assert (await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})).status_code == 202
            await events('"id":1')
            assert (await client.post(url, json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {}})).status_code == 202
            await until(lambda: proxy.statistics()["exchanges"] == 1)
            nursery.start_soon(proxy.drain)
            await until(lambda: proxy.http is not None and proxy.http._draining)
            (tmp_path / "go").touch()
            said = await events("\r\n0\r\n\r\n")
    assert '"id":2,"result"' in said.replace(" ", "")


@asynccontextmanager
async def open_stream(proxy: Proxy) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """A bare GET of the stream; call what it gives to read until some text has come."""
    parts = urlsplit(sse_of(proxy))
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
    got = ""

    async def read_until(text: str) -> str:
        nonlocal got
        with trio.fail_after(20):
            while text not in got or not got.endswith("\n"):
                more = bytes(await stream.receive_some())
                assert more, f"the stream ended before {text!r} came: {got!r}"
                got += more.decode()
        return got

    async with stream:
        await stream.send_all(f"GET {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\naccept: text/event-stream\r\n\r\n".encode())
        yield read_until


@pytest.mark.parametrize("answer", ["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"])
async def test_a_server_that_speaks_neither_is_told_of_by_its_own_refusal(answer: str) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                await stream.send_all(answer.encode())

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=Upstream(url=url))) as proxy, httpx.AsyncClient(trust_env=False) as client:
            got = await client.post(proxy.addresses[0], json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})
            assert f"HTTP/1.1 {got.status_code} " in answer
        nursery.cancel_scope.cancel()
