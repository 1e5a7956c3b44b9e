"""The transport of 2024-11-05 and the drain, in virtual time and by either engine: what was accepted with 202 is answered on the stream, or told
that it will not be. With real clients: tests/real/test_sse2024.py."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from dialogue import Json, legacy
from fakes import FakeUpstream, Feed, OnCall, after, answer_to, hang, note
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import Client, House, Response, open_house, request_bytes

from shadowproxy.config import Timeouts
from shadowproxy.downstream.h2 import LAST_BYTES
from shadowproxy.downstream.http_server import SWEEP
from shadowproxy.exchange import Exchange
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import SseParser

ENGINES = pytest.mark.parametrize("engine", ["native", "hypercorn"])
SOON = LAST_BYTES + 2 * SWEEP
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Old:
    """A client of 2024-11-05."""

    def __init__(self, house: House, stream: Client) -> None:
        self.house, self.stream = house, stream
        self.endpoint = ""
        self._parser = SseParser(1 << 20)
        self._waiting: list[bytes] = []

    async def event(self) -> bytes | None:
        """The data of the next event; None at the proper end of the stream."""
        while not self._waiting:
            part = await self.stream.part()
            if not part:
                return None
            self._waiting += [event.data for event in self._parser.feed(part) if event.data]
        return self._waiting.pop(0)

    async def message(self) -> Json | None:
        data = await self.event()
        return None if data is None else json.loads(data)

    async def post(self, message: Json) -> Response:
        return await self.house.connect().ask("POST", self.endpoint, json.dumps(message).encode(), content_type="application/json")

    async def call(self, id: int) -> None:
        assert (await self.post({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {}})).status == 202

    def drain(self) -> None:
        """As `Proxy.drain` begins."""
        self.house.gateway.admission.draining = True
        self.house.server.drain()


@asynccontextmanager
async def old_client(on_call: OnCall, engine: str, timeouts: Timeouts | None = None) -> AsyncIterator[Old]:
    async with open_house(FakeUpstream(on_call), sse_path="/sse", http_engine=engine, timeouts=timeouts or Timeouts()) as house:
        client = Old(house, house.connect())
        await client.stream.send(request_bytes("GET", "/sse", accept="text/event-stream"))
        assert (await client.stream.head("GET")).status == 200
        client.endpoint = (await client.event() or b"").decode()
        yield client
        with trio.fail_after(SOON):
            await house.server.drained()
        assert (house.upstream.open, house.gateway.admission.in_flight, house.server.connections) == (set(), 0, 0)


@ENGINES
async def test_calls_under_way_are_answered_before_the_stream_ends(autojump_clock: MockClock, engine: str) -> None:
    async def call(exchange: Exchange) -> Message:
        await trio.sleep(int(bytes(exchange.id or b"")))
        return answer_to(exchange)

    async with old_client(call, engine) as client:
        for id in (20, 10):
            await client.call(id)
        await trio.sleep(1)
        client.drain()
        for id in (10, 20):
            assert ((await client.message()) or {})["id"] == id
            assert trio.current_time() == id
        assert await client.message() is None


@ENGINES
async def test_without_any_it_ends_at_once_and_with_it_what_the_server_says_unasked(autojump_clock: MockClock, engine: str) -> None:
    async with old_client(after(1), engine) as client:
        assert (await client.post(INITIALIZED)).status == 202
        await wait_all_tasks_blocked()
        assert len(client.house.upstream.listeners) == 1
        client.drain()
        assert await client.message() is None
        assert trio.current_time() <= SOON


@ENGINES
async def test_progress_goes_on_during_the_drain(autojump_clock: MockClock, engine: str) -> None:
    feed = Feed()

    async def call(exchange: Exchange) -> Feed:
        feed.put(note())
        return feed

    async with old_client(call, engine) as client:
        await client.call(1)
        assert await client.message()
        client.drain()
        await trio.sleep(10)
        feed.put(note(), answer_to(legacy("x", id=1)))
        feed.end()
        assert [sorted(await client.message() or {}) for _ in range(2)] == [["jsonrpc", "method", "params"], ["id", "jsonrpc", "result"]]
        assert await client.message() is None


@ENGINES
async def test_what_was_accepted_but_not_looked_at_yet_is_answered_too(autojump_clock: MockClock, engine: str) -> None:
    """Nothing overtakes the handshake: it waits behind it, with its 202."""
    async with old_client(after(5), engine) as client:
        assert (await client.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})).status == 202
        for id in (2, 3):
            await client.call(id)
        client.drain()
        heard = [await client.message() or {} for _ in range(3)]
        assert [(one["id"], "result" in one) for one in heard] == [(1, True), (2, False), (3, False)]
        assert {one["error"]["data"]["name"] for one in heard[1:]} == {"overloaded"}
        assert await client.message() is None


@ENGINES
async def test_a_post_during_the_drain_is_refused_not_swallowed(autojump_clock: MockClock, engine: str) -> None:
    async with old_client(after(20), engine) as client:
        await client.call(1)
        poster, late = client.house.connect(), request_bytes("POST", client.endpoint, b'{"jsonrpc":"2.0","id":2,"method":"ping"}', content_type="application/json")
        await poster.send(late[:-5])
        await wait_all_tasks_blocked()
        client.drain()
        await poster.send(late[-5:])
        response = await poster.response()
        assert (response.status, response.code, response["retry-after"]) == (503, 1101, "1")
        assert ((await client.message()) or {})["id"] == 1
        assert await client.message() is None


@ENGINES
async def test_at_the_end_of_the_grace_what_is_not_answered_is_told_so_and_the_stream_ends_properly(autojump_clock: MockClock, engine: str) -> None:
    async with old_client(hang, engine) as client:
        await client.call(1)
        await trio.sleep(1)
        client.drain()
        await trio.sleep(20)
        client.house.server.cancel("shutdown")
        told = await client.message() or {}
        assert (told["id"], told["error"]["data"]["name"]) == (1, "overloaded")
        assert await client.message() is None
        assert trio.current_time() <= 21 + SOON


@ENGINES
async def test_a_client_that_leaves_during_the_drain_is_not_waited_for(autojump_clock: MockClock, engine: str) -> None:
    async with old_client(hang, engine) as client:
        await client.call(1)
        client.drain()
        await trio.sleep(1)
        client.stream.leave()


@ENGINES
async def test_a_client_that_does_not_read_is_no_bug_of_ours(autojump_clock: MockClock, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    async with old_client(after(1), engine, Timeouts(write=5)) as client:
        client.stream.stop_reading()
        await client.call(1)
        await trio.sleep(20)
        assert client.house.server.connections == 1, "the poster's"
        client.drain()
    assert "bug of shadowproxy" not in caplog.text
