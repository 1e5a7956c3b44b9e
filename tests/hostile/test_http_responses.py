"""Every row of `http_responses` through the real client, upstream, gateway, endpoint and server: whole, and byte by byte."""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from hostile.make_http_responses import MESSAGE_LIMIT, whole
from hostile.memory_client import open_raw, spelled
from hostile.rows import Row, families, strokes
from hostile.rows import whole as all_of
from http_upstreams import upstream_for
from peers import Asked, Peer, Wire
from trio.testing import MockClock
from wires import Client, open_wire, request_bytes

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.server import open_core
from shadowproxy.watch import Watch

FAMILIES = families("http_responses")
REQUEST = request_bytes(body=b'{"jsonrpc":"2.0","id":7,"method":"prompts/list"}', content_type="application/json", mcp_protocol_version="2025-11-25")
FINE = 4096
SHORT = Timeouts(request=3)
PATIENCE = 5.0
"""Virtual seconds after which every deadline has passed."""


@attrs.define
class Scripted:
    """A proxy before a server that answers the next request by `row`, and all others properly."""

    connect: Callable[..., Client] = Client
    peer: Peer | None = None
    row: Row | None = None
    size: int | None = None

    async def answer(self, asked: Asked, wire: Wire) -> None:
        row, self.row = self.row, None
        if row is None:
            return await wire.send(whole().encode())
        for data in strokes(row["answer"], self.size):
            if data is not None:
                await wire.send(data)
            if wire.closed.is_set():
                return
        if row["end"]:
            wire.close()

    async def ask(self) -> tuple[int, list[list[Any]], int]:
        """Status and messages of one request, and the connection on which it went."""
        assert self.peer is not None
        async with open_raw(self.connect) as raw:
            await raw.send(REQUEST)
            await raw.settle()
            answers = raw.answers(["POST"])
            if not answers:
                await trio.sleep(PATIENCE)
                answers = raw.answers(["POST"])
            (answer,) = answers
        return answer.status, spelled(answer), self.peer.asked[-1].connection


@asynccontextmanager
async def open_front() -> AsyncIterator[Scripted]:
    script = Scripted()
    watch = Watch()
    limits = Limits(message=MESSAGE_LIMIT)
    config = Config(upstream=Upstream(url="http://server.test/mcp"), limits=limits, timeouts=SHORT)
    try:
        async with upstream_for(script.answer, limits=limits, timeouts=SHORT) as (upstream, script.peer):
            async with open_core(config, watch, (), upstream) as (gateway, sessions):
                async with open_wire(Endpoint(config, gateway, sessions, Origins((), (), ())), limits, config.timeouts) as wire:
                    script.connect = wire.connect
                    yield script
    finally:
        watch.close()


async def wrong(rows: list[Row], *, slowly: bool) -> dict[str, Any]:
    found = {}
    async with open_front() as script:
        for row in rows:
            if slowly and row.get("at_once"):
                continue
            script.row, script.size = row, None if not slowly else 1 if len(all_of(row["answer"])) <= FINE else 9973
            status, messages, first = await script.ask()
            good, answered, second = await script.ask()
            got = {"status": status, "messages": messages, "again": first == second}
            if row["again"] is None:
                del got["again"]
            expected = {key: row[key] for key in got}
            if got != expected or (good, answered) != (200, [["7", "result"]]):
                found[row["name"]] = f"{got} {good}, not {expected}"
    return found


@pytest.mark.parametrize("family", FAMILIES)
async def test_whole(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=False) == {}


@pytest.mark.parametrize("family", FAMILIES)
async def test_byte_by_byte(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=True) == {}
