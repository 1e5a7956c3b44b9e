"""Answers that stream: events as they come, deadlines pushed by progress, silence bridged by comments, and who may end what by leaving."""
from __future__ import annotations

import pytest
import trio
from dialogue import Json, legacy, message, modern
from fakes import FakeUpstream, Feed, feeding, hang, note, result_of
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import open_house, posted, request_bytes

from shadowproxy.config import Timeouts
from shadowproxy.errors import SlowConsumer, UpstreamAnswered, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import Exchange
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

ERAS = pytest.mark.parametrize("exchange", [legacy("tools/call", id="a"), modern("tools/call", id="a")], ids=["legacy", "modern"])
RESPONSE = message(id="a", result={"done": True})
LATE = 0.25 + 1e-6
TIMES = Timeouts(request=60, request_max=600, keep_alive=15)


def progress(number: int) -> Json:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": number}}


@ERAS
async def test_every_message_is_an_event_as_soon_as_it_comes(autojump_clock: MockClock, exchange: Exchange) -> None:
    feed = Feed()
    async with open_house(FakeUpstream(feeding(feed))) as house:
        stream = await house.connect().stream(exchange)  # the head is here before any event
        assert (stream.head["cache-control"], stream.head["x-accel-buffering"]) == ("no-cache, no-transform", "no")
        for number in range(3):
            await trio.sleep(1)
            feed.put(note(progress=number))
            assert await stream.message() == progress(number)
        feed.put(RESPONSE)
        assert result_of(await stream.message() or {}) == {"done": True}
        feed.end()
        assert await stream.message() is None
        assert house.upstream.open == set()
        assert (await stream.client.post(legacy("x", id=2))).status == 200


async def test_event_ids_priming_events_and_retry_times_pass(autojump_clock: MockClock) -> None:
    one = message(id="a", result={})
    one.event_id = b"s-2"
    async with open_house(FakeUpstream(feeding(Feed(Event(b"", b"s-1"), Event(b"", None, b"", 500), one, ended=True)))) as house:
        response = await house.connect().post(legacy("x", id="a"))
        assert response.body == b'id: s-1\ndata: \n\nretry: 500\n\nevent: message\nid: s-2\ndata: {"jsonrpc":"2.0","id":"a","result":{}}\n\n'


async def test_a_stream_that_the_server_closes_early_ends_early(autojump_clock: MockClock) -> None:
    """2025-11-25 lets a server close the connection and be polled; the client reconnects with the event's id."""
    async with open_house(FakeUpstream(feeding(Feed(Event(b"", b"s-1"), ended=True)))) as house:
        client = house.connect()
        response = await client.post(legacy("x"))
        assert (response.status, response.body) == (200, b"id: s-1\ndata: \n\n")
        assert (await client.ask("GET", fields=((b"accept", b"text/html"),))).status == 406


@ERAS
@pytest.mark.parametrize("error", [UpstreamBroken("it broke"), SlowConsumer("too slow"), UpstreamAnswered(500, (), b"no")])
async def test_a_failure_midway_is_the_last_event_and_has_the_id(autojump_clock: MockClock, exchange: Exchange, error: Exception) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note(progress=0), error)))) as house:
        client = house.connect()
        first, last = (await client.post(exchange)).messages
        assert first == progress(0)
        assert (last["id"], last["error"]["message"]) == ("a", str(error))
        house.upstream.on_call = FakeUpstream().on_call
        assert (await client.post(exchange)).status == 200


# ---------------------------------------------------- deadlines
@ERAS
async def test_a_comment_is_no_progress(autojump_clock: MockClock, exchange: Exchange) -> None:
    feed = Feed()

    async def keep_alive() -> None:
        for _ in range(10):
            feed.put(Event(b"", comment=b"still there"))
            await trio.sleep(10)

    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house, trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive)
        (refusal,) = (await house.connect().post(exchange)).messages
        assert (refusal["error"]["code"], trio.current_time()) == (1004, pytest.approx(60, abs=LATE))
        nursery.cancel_scope.cancel()


@ERAS
async def test_progress_pushes_the_deadline_up_to_its_maximum(autojump_clock: MockClock, exchange: Exchange) -> None:
    feed = Feed()

    async def go_on() -> None:
        for number in range(1000):
            await trio.sleep(50)
            feed.put(note(progress=number))

    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house, trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        began = trio.current_time()
        messages = (await house.connect().post(exchange)).messages
        assert 600 <= trio.current_time() - began <= 600 + LATE
        assert messages[:-1] == [progress(number) for number in range(len(messages) - 1)]
        assert (messages[-1]["id"], messages[-1]["error"]["code"]) == ("a", 1004)
        assert house.upstream.open == set()
        nursery.cancel_scope.cancel()


@ERAS
async def test_without_progress_the_deadline_stands(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note(progress=0)))), timeouts=TIMES) as house:
        client = house.connect()
        began = trio.current_time()
        response = await client.post(exchange)
        assert 60 <= trio.current_time() - began <= 60 + 2 * LATE
        assert [one.get("error", {}).get("code") for one in response.messages] == [None, 1004]
        house.upstream.on_call = FakeUpstream().on_call
        assert (await client.post(exchange)).status == 200


# ---------------------------------------------------- who leaves
async def test_a_modern_clients_leaving_cancels(autojump_clock: MockClock) -> None:
    feed = Feed(note(progress=0))
    async with open_house(FakeUpstream(feeding(feed))) as house:
        stream = await house.connect().stream(modern("x"))
        await stream.message()
        assert len(house.upstream.open) == 1
        stream.client.leave()
        await wait_all_tasks_blocked()
        assert (house.upstream.open, house.gateway.admission.in_flight) == (set(), 0)


@pytest.mark.parametrize("exchange", [modern("x"), legacy("x")], ids=["modern", "legacy"])
async def test_leaving_before_there_is_any_answer(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(hang)) as house:
        client = house.connect()
        await client.send(posted(exchange))
        await wait_all_tasks_blocked()
        client.leave()
        await wait_all_tasks_blocked()
        assert house.upstream.cancelled == (house.upstream.calls if exchange.era == "modern" else [])
        assert house.gateway.admission.in_flight == (exchange.era == "legacy")


async def test_a_legacy_clients_leaving_does_not_cancel(autojump_clock: MockClock) -> None:
    feed = Feed(note(progress=0))
    async with open_house(FakeUpstream(feeding(feed))) as house:
        stream = await house.connect().stream(legacy("x"))
        await stream.message()
        stream.client.leave()
        for number in range(5):
            feed.put(note(progress=number))
            await wait_all_tasks_blocked()
        assert (feed.waiting, len(house.upstream.open)) == (0, 1)  # they are taken, so that the server is not held up
        feed.put(RESPONSE)
        feed.end()
        await wait_all_tasks_blocked()
        assert (house.upstream.open, house.server.connections) == (set(), 0)


async def test_a_legacy_client_that_left_before_its_stream_began_does_not_cancel_either(autojump_clock: MockClock) -> None:
    feed, go = Feed(), trio.Event()

    async def call(exchange: Exchange) -> Feed:
        await go.wait()
        return feed

    async with open_house(FakeUpstream(call)) as house:
        client = house.connect()
        await client.send(posted(legacy("x")))
        await wait_all_tasks_blocked()
        client.leave()
        go.set()
        for number in range(3):
            feed.put(note(progress=number))
            await wait_all_tasks_blocked()
        assert (feed.waiting, len(house.upstream.open)) == (0, 1)
        feed.put(RESPONSE)
        feed.end()
        await wait_all_tasks_blocked()
        assert house.upstream.open == set()


@pytest.mark.parametrize("silent", [False, True])
async def test_what_nobody_waits_for_still_has_its_deadline_and_its_progress(autojump_clock: MockClock, silent: bool) -> None:
    feed = Feed(note(progress=0))
    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house:
        stream = await house.connect().stream(legacy("x"))
        await stream.message()
        stream.client.leave()
        for number in range(1, 4):
            if not silent:
                feed.put(note(progress=number))
            await trio.sleep(50)
            assert len(house.upstream.open) == (number == 1 or not silent)
        await trio.sleep(62)
        assert (house.upstream.open, house.server.connections) == (set(), 0)


async def test_a_client_that_stops_reading_holds_up_its_own_upstream_and_is_dropped(autojump_clock: MockClock) -> None:
    """Backpressure is pull: the next message is taken after the last has been written."""
    feed = Feed()
    async with open_house(FakeUpstream(feeding(feed)), timeouts=Timeouts(write=30)) as house:
        stream = await house.connect().stream(modern("x"))
        stream.client.stop_reading()
        feed.put(*(note(progress=number) for number in range(10)))
        await trio.sleep(29)
        assert (feed.waiting, house.server.connections) == (9, 1)
        await trio.sleep(2)
        assert (house.upstream.open, house.server.connections) == (set(), 0)


# ---------------------------------------------------- silence
@ERAS
async def test_a_silent_stream_has_a_comment_every_so_often(autojump_clock: MockClock, exchange: Exchange) -> None:
    feed = Feed()
    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house:
        stream = await house.connect().stream(exchange)
        began = trio.current_time()
        for number in (1, 2, 3):
            assert await stream.more()
            assert (stream.comments, 15 * number <= trio.current_time() - began <= (15 + LATE) * number) == (number, True)
        feed.put(RESPONSE)
        feed.end()
        assert result_of(await stream.message() or {}) == {"done": True}
        assert await stream.message() is None


# ---------------------------------------------------- GET streams
async def test_a_get_stream_stands_for_hours_and_is_kept_open(autojump_clock: MockClock) -> None:
    feed = Feed()
    async with open_house(FakeUpstream(), timeouts=TIMES) as house:
        house.upstream.on_listen = feeding(feed)
        stream = await house.connect().get()
        for hour in (1, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.message)
                await trio.sleep(3600)
                feed.put(note(progress=hour))
            assert 235 * hour <= stream.comments <= 240 * hour


async def test_leaving_a_get_stream_gives_it_back(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        stream = await house.connect().get()
        assert len(house.upstream.open) == 1
        stream.client.leave()
        await wait_all_tasks_blocked()
        assert (house.upstream.open, house.server.connections) == (set(), 0)


async def test_a_get_stream_needs_no_permit(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        await house.connect().get()
        assert house.gateway.admission.in_flight == 0


@pytest.mark.parametrize(("error", "status"), [(UpstreamAnswered(405, ((b"allow", b"POST"),), b""), 405), (UpstreamUnreachable("nobody there"), 502)])
async def test_a_server_that_offers_no_stream_says_so(autojump_clock: MockClock, error: Exception, status: int) -> None:
    async def refuse(exchange: Exchange) -> Feed:
        raise error

    async with open_house(FakeUpstream()) as house:
        house.upstream.on_listen = refuse
        client = house.connect()
        response = await client.ask("GET", fields=((b"accept", b"text/event-stream"),))
        assert (response.status, response["allow"]) == (status, "POST" if status == 405 else None)
        assert (await client.post(legacy("x"))).status == 200


async def test_a_get_stream_that_breaks_ends_as_a_stream_ends(autojump_clock: MockClock) -> None:
    feed = Feed(note(progress=1), UpstreamBroken("it broke"))
    async with open_house(FakeUpstream()) as house:
        house.upstream.on_listen = feeding(feed)
        client = house.connect()
        assert (await client.ask("GET")).messages == [progress(1)]
        assert (await client.post(legacy("x"))).status == 200


async def test_a_get_of_the_modern_era_is_not_served(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask("GET", mcp_protocol_version="2026-07-28")
        assert (response.status, response["allow"], house.upstream.listeners) == (405, "POST, GET, DELETE, OPTIONS", [])


@pytest.mark.parametrize(("accept", "status"), [
    ("text/event-stream", 200), ("application/json, Text/Event-Stream;q=0.5", 200), ("application/json", 406), ("*/*", 200), ("text/*", 200), ("text/html, */*;q=0.1", 200),
    ("text/event-stream;q=0", 406), ("text/html", 406), ("application/*", 406),
])  # fmt: skip
async def test_what_a_get_must_accept(autojump_clock: MockClock, accept: str, status: int) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        await client.send(request_bytes("GET", accept=accept))
        assert (await client.head("GET")).status == status
        asked = [[value for name, value in exchange.headers or () if name == b"accept"] for exchange in house.upstream.listeners]
        assert asked == ([] if status == 406 else [[accept.encode() if "text/event-stream" in accept else b"text/event-stream"]])


@pytest.mark.parametrize("accept", [None, "*/*", "text/*", "application/*", "application/json", "text/event-stream", "text/html"])
async def test_what_a_post_accepts_is_between_it_and_the_server(autojump_clock: MockClock, accept: str | None) -> None:
    async with open_house(FakeUpstream()) as house:
        fields = () if accept is None else ((b"accept", accept.encode()),)
        assert (await house.connect().ask(body=legacy("x").request.encode(), fields=fields, content_type="application/json")).status == 200


# ---------------------------------------------------- the drain
async def test_the_drain_ends_standing_streams_and_lets_the_others_finish(autojump_clock: MockClock) -> None:
    listening, calling = Feed(), Feed()
    async with open_house(FakeUpstream(feeding(calling))) as house:
        house.upstream.on_listen = feeding(listening)
        standing = await house.connect().get()
        other = await house.connect().stream(legacy("x", id="a"))
        house.server.drain()
        assert await standing.message() is None
        assert await standing.client.closed()
        await trio.sleep(10)
        calling.put(RESPONSE)
        calling.end()
        assert await other.message() == {"jsonrpc": "2.0", "id": "a", "result": {"done": True}}
        assert await other.message() is None
        assert await other.client.closed()
        assert house.upstream.open == set()


async def test_a_subscription_ends_with_an_empty_result_that_names_it(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note("notifications/subscriptions/acknowledged"))))) as house:
        stream = await house.connect().stream(modern("subscriptions/listen", id="sub"))
        await stream.message()
        await trio.sleep(5000)  # it stands: no deadline
        house.server.drain()
        meta = {"io.modelcontextprotocol/subscriptionId": "sub"}
        assert await stream.message() == {"jsonrpc": "2.0", "id": "sub", "result": {"resultType": "complete", "_meta": meta}}
        assert await stream.message() is None
        assert house.upstream.open == set()


async def test_at_the_end_of_the_grace_every_client_is_told(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Message | Feed:
        return await hang(exchange) if exchange.request.method == "hang" else Feed()

    async with open_house(FakeUpstream(call)) as house:
        plain, stream = house.connect(), await house.connect().stream(legacy("x", id="a"))
        await plain.send(posted(modern("hang", id="b")))
        await wait_all_tasks_blocked()
        house.server.drain()
        house.server.cancel("shutdown")
        told = await plain.response()
        assert (told.status, told.code, told.json["id"], told["retry-after"]) == (503, 1101, "b", "1")
        last = await stream.message() or {}
        assert (last["id"], last["error"]["code"]) == ("a", 1101)
        assert await stream.message() is None
