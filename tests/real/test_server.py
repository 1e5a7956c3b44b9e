"""open_proxy: what it is given is what it serves, what cannot be is said bare and before anything starts, and leaving it leaves nothing."""
from __future__ import annotations

import socket
import sys
from pathlib import Path

import httpx
import pytest
import trio
from cancelling import Sword
from dialogue import META
from programs import until

from shadowproxy import CannotListen, Config, Timeouts, Upstream, open_proxy, serve

DEMO = Upstream(command=(sys.executable, "-m", "shadowproxy.cli.demo_server"), warm=0)
HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}


async def tools(url: str, **transport: str) -> int:
    way = httpx.AsyncHTTPTransport(**transport) if transport else None  # type: ignore[arg-type]  # uds
    async with httpx.AsyncClient(transport=way, trust_env=False) as client:
        answer = await client.post(url, json=LIST, headers=HEADERS)
        return len(answer.json()["result"]["tools"])


async def test_several_listeners_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with open_proxy(Config(listen=("127.0.0.1:0", "[::1]:0", f"unix:{path}"), upstream=DEMO, path="/here")) as proxy:
        four, six, unix = proxy.addresses
        assert four.startswith("http://127.0.0.1:")
        assert six.startswith("http://[::1]:")
        assert unix == f"unix:{path}"
        assert await tools(four) == await tools(six) == await tools("http://localhost/here", uds=str(path)) == 3
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_an_upstream_on_a_unix_socket(tmp_path: Path) -> None:
    behind = Config(listen=(f"unix:{tmp_path}/s",), upstream=DEMO)
    before = Config(listen=("127.0.0.1:0",), upstream=Upstream(url=f"unix:{tmp_path}/s"))
    async with open_proxy(behind), open_proxy(before) as proxy:
        assert await tools(proxy.addresses[0]) == 3


async def test_a_socket_file_left_by_a_crash_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    config = Config(listen=(f"unix:{tmp_path}/s",), upstream=DEMO)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/s")
    async with open_proxy(config):
        with pytest.raises(CannotListen, match="in use"):
            async with open_proxy(config):
                raise AssertionError


async def test_a_port_that_is_taken_is_a_bare_error_and_nothing_was_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match=f"cannot listen on {address}"):
            async with open_proxy(Config(listen=("127.0.0.1:0", address), upstream=Upstream(command=("no-such-program",)))):
                raise AssertionError


async def test_an_error_of_the_block_is_the_users_own() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=DEMO)) as proxy:
            assert await tools(proxy.addresses[0]) == 3
            raise ValueError("mine")


async def test_serve_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        proxy = await nursery.start(serve, Config(listen=("127.0.0.1:0",), upstream=DEMO))
        assert await tools(proxy.addresses[0]) == 3
        assert proxy.statistics()["children"] == 1
        nursery.cancel_scope.cancel()


async def test_draining_twice_is_draining_once() -> None:
    async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=DEMO)) as proxy:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.drain)
            nursery.start_soon(proxy.drain)
        with pytest.raises(httpx.ConnectError):
            await tools(proxy.addresses[0])


async def test_a_request_under_way_finishes_in_the_drain_or_is_told(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import json, sys, time\nfor line in sys.stdin:\n    m = json.loads(line)\n"
                    "    r = {'supportedVersions': ['2026-07-28']} if m.get('method') == 'server/discover' else None\n"
                    "    if r: print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'result': r}), flush=True)\n")  # fmt: skip
    config = Config(listen=("127.0.0.1:0",), upstream=Upstream(command=(sys.executable, str(slow)), warm=0), timeouts=Timeouts(drain=0.3, child_grace=0.5))
    async with open_proxy(config) as proxy, httpx.AsyncClient(trust_env=False, timeout=20) as client:
        got: list[httpx.Response] = []

        async def call() -> None:
            got.append(await client.post(proxy.addresses[0], json=LIST, headers=HEADERS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until(lambda: proxy.statistics()["exchanges"] == 1)
            await proxy.drain()
        assert got[0].status_code == 503
        assert got[0].json()["error"]["data"]["name"] == "overloaded"


def test_cancelled_at_every_step_it_leaves_nothing(tmp_path: Path) -> None:
    """The census looks at what is left of descriptors; the socket file is gone, whenever the cancellation came."""
    config = Config(listen=("127.0.0.1:0", f"unix:{tmp_path}/s"), upstream=Upstream(url="http://127.0.0.1:1/mcp"))

    async def scenario(sword: Sword) -> None:
        with sword():
            async with open_proxy(config) as proxy:
                refused = await post_by_hand(proxy.addresses[0])
                assert refused == 502
                await proxy.drain()

    for at in range(1, 2000):
        sword = Sword(at)
        trio.run(scenario, sword, instruments=[sword])
        assert not (tmp_path / "s").exists()
        if not sword.fell:
            break
    assert sword.step > 30


async def post_by_hand(url: str) -> int:
    """A POST by hand: a cancelled httpx leaves things to the collector."""
    host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        return int(bytes(await stream.receive_some()).split()[1])
