"""Every row of `stdin_lines` through the real stdio downstream and gateway, with a fake upstream behind: whole, and byte by byte."""
from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from fakes import FakeUpstream, answer_to
from hostile.make_stdin_lines import LINE_LIMIT, ask
from hostile.memory_client import in_words
from hostile.rows import Row, families, strokes, whole
from trio.testing import MockClock

from shadowproxy.admission import Admission
from shadowproxy.config import Config, Limits, Upstream
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.exchange import Exchange
from shadowproxy.gateway import Gateway
from shadowproxy.wire.jsonrpc import Message

FAMILIES = families("stdin_lines")
FINE = 4096


async def answer(exchange: Exchange) -> Message:
    """At once; to `hang` never."""
    await (trio.sleep_forever() if exchange.request.method == "hang" else trio.lowlevel.checkpoint())
    return answer_to(exchange)


async def converse(row: Row, size: int | None) -> dict[str, Any]:
    upstream = FakeUpstream(answer)
    config = Config(upstream=Upstream(command=("none",)), stdio=True, limits=Limits(body=LINE_LIMIT))
    limits = config.limits
    stdin, server_stdin = trio.testing.memory_stream_one_way_pair()
    server_stdout, stdout = trio.testing.memory_stream_one_way_pair()
    said = bytearray()

    async def read() -> None:
        async for data in stdout:
            said.extend(data)

    async def serve() -> None:
        async with server_stdout:
            await StdioServer(config, Gateway(upstream, Admission(limits.exchanges, limits.queue, config.timeouts.queue)), server_stdin, server_stdout).run()

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(serve)
            for data in strokes(row["lines"], size):
                await (trio.testing.wait_all_tasks_blocked() if data is None else stdin.send_all(data))
            await stdin.send_all(ask('"last"', "last").encode())
            await trio.testing.wait_all_tasks_blocked()
            stdin.close()
    out = [in_words(line) for line in bytes(said).splitlines()]
    out.remove(['"last"', "result"])
    told = [str(exchange.request.method) for exchange in upstream.notes]
    return {"out": sorted(out, key=str), "reached": [method for method in upstream.methods if method != "last"], "told": told}


async def wrong(rows: list[Row], *, slowly: bool) -> dict[str, Any]:
    found = {}
    for row in rows:
        got = await converse(row, None if not slowly else 1 if len(whole(row["lines"])) <= FINE else 997)
        expected = {"out": sorted(row["out"], key=str), "reached": row["reached"], "told": row["told"]}
        if got != expected:
            found[row["name"]] = f"{got}, not {expected}"
    return found


@pytest.mark.parametrize("family", FAMILIES)
async def test_whole(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=False) == {}


@pytest.mark.parametrize("family", FAMILIES)
async def test_byte_by_byte(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=True) == {}
