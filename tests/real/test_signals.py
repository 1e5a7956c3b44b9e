"""The first signal drains, the second cuts it short, and the exit codes say which it was."""
from __future__ import annotations

import signal

import httpx
import pytest
import trio
from dialogue import META
from programs import PUPPET, SHADOWPROXY, Program, until

HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
REVERSE = (*SHADOWPROXY, "reverse", "--listen", "127.0.0.1:0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_with_nothing_under_way_the_first_signal_ends_it_well(number: int) -> None:
    with Program([*REVERSE, "http://127.0.0.1:1/mcp"]) as proxy:
        await until(lambda: "http://" in proxy.words)
        proxy.signal(number)
        await until(lambda: proxy.ended)
        assert proxy.status == 0
        assert "Traceback" not in proxy.words


async def test_a_second_signal_cuts_the_drain_short() -> None:
    sleeper = "import sys\nfor line in sys.stdin: pass"
    with Program([*REVERSE, "--drain-timeout", "60", "--", PUPPET[0], "-c", sleeper]) as proxy:
        await until(lambda: "http://" in proxy.words)

        async def ask() -> None:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                with pytest.raises(httpx.HTTPError):
                    await client.post(proxy.url, json=LIST, headers=HEADERS)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.3)
            proxy.signal(signal.SIGTERM)
            await until(lambda: "draining" in proxy.words)
            proxy.signal(signal.SIGTERM)
            await until(lambda: proxy.ended)
        assert proxy.status == 130
        await until(lambda: not proxy.family())
