"""The demo: a small MCP server behind the proxy, a client that talks to it in both eras, each message shown as it passes.

In: whether to stop by itself. Out: text on standard output; then the address to try oneself, until Ctrl-C. The proxy's block owns everything.
"""
from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import trio

from shadowproxy.cli import exits, proxying
from shadowproxy.config import Config, Upstream
from shadowproxy.interceptors.show import Show
from shadowproxy.server import Proxy, open_proxy

_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
_TRY = """\
The proxy goes on at {url}; try it from another terminal:

  curl -s {url} -H 'content-type: application/json' -H 'accept: application/json, text/event-stream' \\
    -H 'mcp-protocol-version: 2026-07-28' -H 'mcp-method: tools/call' -H 'mcp-name: echo' \\
    -d '{body}'

Ctrl-C ends it."""


def config() -> Config:
    """The demo's own settings: a free port on loopback, the bundled server behind it."""
    return Config(listen=("127.0.0.1:0",), upstream=Upstream(command=(sys.executable, "-m", "shadowproxy.cli.demo_server")))


def run(*, once: bool) -> int:
    """The verb."""
    return proxying.run(partial(_until_signalled, once))


async def _until_signalled(once: bool) -> int:
    """Ctrl-C is how it ends, so it is no error."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at, signals, nursery.cancel_scope)
            await demo(print, once=once)
            nursery.cancel_scope.cancel(reason="the demo is over")
    return exits.OK


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        scope.cancel(reason=signal.Signals(number).name)


async def demo(say: Callable[[str], None], *, once: bool) -> None:
    """Run it; `say` is told each line. Ends by itself with `once`, else when cancelled."""
    colour = sys.stdout.isatty()
    async with open_proxy(config(), interceptors=[Show(lambda way, text: say(_line(way, text, colour)))]) as proxy:
        url = proxy.addresses[0]
        say(f"An MCP server on stdio, and shadowproxy in front of it at {url}. --> is towards the server, <-- towards the client.")
        async with httpx.AsyncClient(headers=_HEADERS) as client:
            say("\nA client of 2026-07-28: every request stands for itself.")
            await _modern(client, url)
            say("\nA client of 2025-11-25: a handshake, a session, and a child process of its own.")
            await _legacy(client, url)
        await _rest(proxy, say, once)


async def _rest(proxy: Proxy, say: Callable[[str], None], once: bool) -> None:
    counts = ", ".join(f"{name} {count}" for name, count in proxy.statistics().items() if count)
    say(f"\nWhat the proxy holds now: {counts or 'nothing'}.")
    if not once:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hello"}, "_meta": _META}})
        say(_TRY.format(url=proxy.addresses[0], body=body))
        await proxy.finished()


def _line(way: str, text: str, colour: bool) -> str:
    return f"\x1b[{36 if way == '-->' else 32}m{way}\x1b[0m {text}" if colour else f"{way} {text}"


async def _modern(client: httpx.AsyncClient, url: str) -> None:
    await _post_modern(client, url, 1, "server/discover", {})
    await _post_modern(client, url, 2, "tools/call", {"name": "echo", "arguments": {"text": "hello"}})
    await _post_modern(client, url, 3, "tools/call", {"name": "count", "arguments": {"steps": 2}, "_meta": {"progressToken": "p"}})


async def _post_modern(client: httpx.AsyncClient, url: str, id: int, method: str, params: dict[str, Any]) -> None:
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    params = {**params, "_meta": {**_META, **params.get("_meta", {})}}
    await client.post(url, json={"jsonrpc": "2.0", "id": id, "method": method, "params": params}, headers=headers)


async def _legacy(client: httpx.AsyncClient, url: str) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "demo", "version": "1"}}
    answer = await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    await client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    await client.post(url, json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "fail"}}, headers=session)
    await client.delete(url, headers=session)
