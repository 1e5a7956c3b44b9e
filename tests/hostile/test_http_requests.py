"""Every row of `http_requests` against the real server, endpoint and gateway, with a fake upstream behind: whole, and byte by byte."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from fakes import FakeUpstream
from hostile.make_http_requests import BODY_LIMIT, FIELD_LIMIT, HEAD_LIMIT
from hostile.memory_client import Raw, open_raw
from hostile.rows import Row, families, strokes, whole
from trio.testing import MockClock
from wires import House, open_house, request_bytes

from shadowproxy.config import Limits, Timeouts

FAMILIES = families("http_requests")
PROBE = request_bytes(body=b'{"jsonrpc":"2.0","id":"probe","method":"probe"}', content_type="application/json")
FINE = 4096
"""Bytes up to which a row is sent one by one; longer ones go in pieces of a prime size."""
SHORT = Timeouts(head=1, body=2, idle=3)
PATIENCE = 5.0
"""Virtual seconds after which every deadline of a request has passed."""


@asynccontextmanager
async def hostile_house() -> AsyncIterator[House]:
    limits = Limits(head=HEAD_LIMIT, headers=FIELD_LIMIT, body=BODY_LIMIT)
    async with open_house(FakeUpstream(), limits=limits, timeouts=SHORT) as house:
        yield house


async def outcome(house: House, row: Row, size: int | None) -> dict[str, Any]:
    """What became of a row, in the words of the rows."""
    house.upstream.calls.clear()
    methods = [row.get("to", "POST")]
    async with open_raw(house.connect) as raw:
        for data in strokes(row["send"], size):
            await (raw.settle() if data is None else raw.send(data))
        if row.get("end"):
            raw.client.half_close()
            await raw.settle()
        found: dict[str, Any] = {"answers": [answer.status for answer in raw.answers(methods)], "then": await _then(row, raw)}
        if row["then"] == "waits":
            await trio.sleep(PATIENCE)
            found["late"] = [answer.status for answer in raw.answers(methods)]
            assert raw.closed
        assert raw.data == b"", "more than answers"
    found["reached"] = [method for method in house.upstream.methods if method != "probe"]
    return found


async def _then(row: Row, raw: Raw) -> str:
    if raw.closed or row["then"] == "waits":
        return "closed" if raw.closed else "waits"
    await raw.send(PROBE)
    await raw.settle()
    return "open" if [answer.status for answer in raw.answers(["POST"])] == [200] else "stuck"


async def wrong(rows: list[Row], *, slowly: bool) -> dict[str, Any]:
    """The rows whose outcome is not what they say."""
    found = {}
    async with hostile_house() as house:
        for row in rows:
            if slowly and row.get("at_once"):
                continue
            size = None if not slowly else 1 if len(whole(row["send"])) <= FINE else 997
            expected = {key: row[key] for key in ("answers", "then", "late", "reached") if key in row}
            if slowly:
                expected |= row.get("slowly", {})
            got = await outcome(house, row, size)
            if got != expected:
                found[row["name"]] = f"{got}, not {expected}"
        await trio.testing.wait_all_tasks_blocked()
        assert house.server.connections == 0
    return found


@pytest.mark.parametrize("family", FAMILIES)
async def test_whole(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=False) == {}


@pytest.mark.parametrize("family", FAMILIES)
async def test_byte_by_byte(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=True) == {}
