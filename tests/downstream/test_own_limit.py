"""The end of exchanges, by deadline and by the server, over HTTP/1.1 by either engine: one contract for what lends a limit and for what does not.

HTTP/2 has the same in tests/real/test_h2.py, a server that is not ours in test_foreign_server.py.
"""
from __future__ import annotations

import pytest
import trio
from dialogue import legacy, message, modern
from fakes import FakeUpstream, Feed, after, answer_to, feeding, hang, note
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import Client, House, open_house, posted, request_bytes

from shadowproxy.config import Timeouts
from shadowproxy.downstream.h2 import LAST_BYTES
from shadowproxy.downstream.http_server import SWEEP
from shadowproxy.exchange import Exchange
from shadowproxy.wire.jsonrpc import Message

ENGINES = pytest.mark.parametrize("engine", ["native", "hypercorn"])
ERAS = pytest.mark.parametrize("exchange", [legacy("tools/call", id="a"), modern("tools/call", id="a")], ids=["legacy", "modern"])
RESPONSE = message(id="a", result={"done": True})
TIMES = Timeouts(request=60, request_max=600, keep_alive=15)
SOON = LAST_BYTES + 2 * SWEEP
END_OF_SUBSCRIPTION = {"jsonrpc": "2.0", "id": "s", "result": {"resultType": "complete", "_meta": {"io.modelcontextprotocol/subscriptionId": "s"}}}


async def drained(house: House) -> None:
    """Soon, and nothing is held."""
    with trio.fail_after(SOON):
        await house.server.drained()
    assert (house.upstream.open, house.gateway.admission.in_flight, house.server.connections) == (set(), 0, 0)


def connect(house: House) -> Client:
    """A client to which writes are as they are to a socket."""
    client = house.connect()
    client.connection.at_once = True
    return client


# ---------------------------------------------------- the drain
@ENGINES
async def test_a_get_stream_ends_at_once_and_what_is_under_way_goes_on(autojump_clock: MockClock, engine: str) -> None:
    calling = Feed(note())
    async with open_house(FakeUpstream(feeding(calling)), http_engine=engine) as house:
        standing, idle = await house.connect().get(), house.connect()
        other = await house.connect().stream(legacy("x", id="a"))
        assert await other.message() is not None
        began = trio.current_time()
        house.server.drain()
        assert await standing.message() is None
        assert await standing.client.closed()
        assert await idle.closed()
        assert trio.current_time() - began <= SOON
        await trio.sleep(50)
        calling.put(RESPONSE)
        calling.end()
        assert await other.message() == {"jsonrpc": "2.0", "id": "a", "result": {"done": True}}
        assert await other.message() is None
        await drained(house)


@ENGINES
async def test_a_subscription_stands_and_ends_with_its_result(autojump_clock: MockClock, engine: str) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note("notifications/subscriptions/acknowledged")))), timeouts=TIMES, http_engine=engine) as house:
        stream = await house.connect().stream(modern("subscriptions/listen", id="s"))
        await stream.message()
        await trio.sleep(5000)
        house.server.drain()
        assert await stream.message() == END_OF_SUBSCRIPTION
        assert await stream.message() is None
        await drained(house)


@ENGINES
async def test_the_stream_of_2024_ends_as_a_stream_ends(autojump_clock: MockClock, engine: str) -> None:
    async with open_house(FakeUpstream(), sse_path="/sse", http_engine=engine) as house:
        client = house.connect()
        await client.send(request_bytes("GET", "/sse", accept="text/event-stream"))
        assert (await client.head("GET")).status == 200
        assert (await client.part()).startswith(b"event: endpoint")
        house.server.drain()
        assert await client.part() == b""
        await drained(house)


@ENGINES
async def test_what_begins_to_stand_during_the_drain_ends_too(autojump_clock: MockClock, engine: str) -> None:
    async def slowly(exchange: Exchange) -> Feed:
        await trio.sleep(5)
        return Feed()

    async with open_house(FakeUpstream(slowly), http_engine=engine) as house:
        house.upstream.on_listen = slowly
        get, subscription = house.connect(), house.connect()
        await get.send(request_bytes("GET", accept="text/event-stream"))
        await subscription.send(posted(modern("subscriptions/listen", id="s")))
        await trio.sleep(1)
        house.server.drain()
        ended = await subscription.response()
        assert ended.messages == [END_OF_SUBSCRIPTION]
        assert (await get.response("GET")).body == b""
        await drained(house)


@ENGINES
async def test_an_answer_during_the_drain_says_that_it_is_the_connections_last(autojump_clock: MockClock, engine: str) -> None:
    async with open_house(FakeUpstream(after(10)), http_engine=engine) as house:
        client = house.connect()
        assert (await client.post(legacy("x")))["connection"] is None
        await client.send(posted(legacy("x")))
        await wait_all_tasks_blocked()
        house.server.drain()
        response = await client.response()
        assert (response.status, response["connection"]) == (200, "close")
        await drained(house)


# ---------------------------------------------------- last words
@ENGINES
async def test_at_the_end_of_the_grace_every_client_is_told(autojump_clock: MockClock, engine: str) -> None:
    async def call(exchange: Exchange) -> Message | Feed:
        return await hang(exchange) if exchange.request.method == "hang" else Feed()

    async with open_house(FakeUpstream(call), http_engine=engine) as house:
        plain, stream = house.connect(), await house.connect().stream(legacy("x", id="a"))
        await plain.send(posted(modern("hang", id="b")))
        await wait_all_tasks_blocked()
        house.server.drain()
        await trio.sleep(20)
        house.server.cancel("shutdown")
        told = await plain.response()
        assert (told.status, told.code, told.json["id"], told["retry-after"]) == (503, 1101, "b", "1")
        last = await stream.message() or {}
        assert (last["id"], last["error"]["code"]) == ("a", 1101)
        assert await stream.message() is None
        await drained(house)


@ENGINES
async def test_without_any_grace_a_subscription_has_its_result_all_the_same(autojump_clock: MockClock, engine: str) -> None:
    """Who ends first says why."""
    async with open_house(FakeUpstream(feeding(Feed(note()))), http_engine=engine) as house:
        stream = await house.connect().stream(modern("subscriptions/listen", id="s"))
        await stream.message()
        house.server.drain()
        house.server.cancel("shutdown")
        assert await stream.message() == END_OF_SUBSCRIPTION
        assert await stream.message() is None
        await drained(house)


@ENGINES
async def test_an_answer_that_comes_in_the_same_moment_is_not_lost(autojump_clock: MockClock, engine: str) -> None:
    """A cancelled writer that drops what it had to say would take the whole connection with it."""
    come = trio.Event()

    async def call(exchange: Exchange) -> Message:
        await come.wait()
        return answer_to(exchange)

    async with open_house(FakeUpstream(call), http_engine=engine) as house:
        client = connect(house)
        await client.send(posted(modern("x")))
        await wait_all_tasks_blocked()
        house.server.drain()
        come.set()
        house.server.cancel("shutdown")
        assert (await client.response()).status == 200
        await drained(house)


@ENGINES
async def test_at_the_end_of_the_grace_who_does_not_read_its_answer_is_cut_off(autojump_clock: MockClock, engine: str) -> None:
    async def call(exchange: Exchange) -> Message:
        return answer_to(exchange, text="x" * 1000)

    async with open_house(FakeUpstream(call), http_engine=engine) as house:
        client = house.connect()
        client.stop_reading()
        await client.send(posted(modern("x")))
        await wait_all_tasks_blocked()
        house.server.drain()
        house.server.cancel("shutdown")
        await drained(house)


@ENGINES
async def test_at_the_end_of_the_grace_a_request_that_is_not_whole_is_cut_off(autojump_clock: MockClock, engine: str) -> None:
    async with open_house(FakeUpstream(), http_engine=engine) as house:
        client = house.connect()
        await client.send(posted(modern("x"))[:-5])
        await wait_all_tasks_blocked()
        house.server.drain()
        house.server.cancel("shutdown")
        await drained(house)


# ---------------------------------------------------- deadlines
@ENGINES
@ERAS
async def test_the_deadline_of_an_answer(autojump_clock: MockClock, engine: str, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(hang), timeouts=TIMES, http_engine=engine) as house:
        client = house.connect()
        late = await client.post(exchange)
        assert (late.status, late.code, late.json["id"]) == (504, 1004, "a")
        assert 60 <= trio.current_time() <= 60 + SOON
        assert house.upstream.open == set()
        house.upstream.on_call = FakeUpstream().on_call
        assert (await client.post(exchange)).status == 200, "the connection serves on"


@ENGINES
@ERAS
async def test_the_deadline_of_a_stream(autojump_clock: MockClock, engine: str, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note()))), timeouts=TIMES, http_engine=engine) as house:
        client = connect(house)  # a comment is due in the same moment
        first, last = (await client.post(exchange)).messages
        assert (first["method"], last["id"], last["error"]["code"]) == ("notifications/progress", "a", 1004)
        house.upstream.on_call = FakeUpstream().on_call
        assert (await client.post(exchange)).status == 200


@ENGINES
async def test_an_answer_on_its_way_has_the_deadline_of_a_write_only(autojump_clock: MockClock, engine: str) -> None:
    async with open_house(FakeUpstream(after(59)), timeouts=TIMES, http_engine=engine) as house:
        client = house.connect()
        await client.send(posted(modern("x", id="a")))
        await wait_all_tasks_blocked()
        client.stop_reading()
        await trio.sleep(75)
        client.read_on()
        response = await client.response()
        assert (response.status, response.json["id"]) == (200, "a")
