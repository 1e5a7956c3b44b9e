"""The endpoint on a server that is not ours: no scope is lent to it, so each exchange has a deadline, a reader and comments of its own."""
from __future__ import annotations

import pytest
import trio
from asgi_client import Direct
from dialogue import POST, legacy, message, modern
from fakes import FakeUpstream, Feed, after, feeding, hang, note, result_of
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import open_house

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import PeerGone
from shadowproxy.errors import SessionMissing, UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange

ERAS = pytest.mark.parametrize("exchange", [legacy("tools/call", id="a"), modern("tools/call", id="a")], ids=["legacy", "modern"])
RESPONSE = message(id="a", result={"done": True})
TIMES = Timeouts(request=60, request_max=600, keep_alive=15)
ACCEPT = ((b"accept", b"text/event-stream"),)


@ERAS
async def test_an_answer(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(after(10))) as house:
        direct = Direct(house.endpoint, exchange)
        await direct.run()
        assert (direct.status, direct["content-type"], direct.whole) == (200, "application/json", True)
        assert result_of(direct.json) == {"of": "tools/call"}
        assert house.upstream.open == set()


@ERAS
async def test_a_stream(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note(), RESPONSE, ended=True)))) as house:
        direct = Direct(house.endpoint, exchange)
        await direct.run()
        assert (direct["content-type"], len(direct.messages), direct.whole) == ("text/event-stream", 2, True)


async def test_a_body_in_parts(autojump_clock: MockClock) -> None:
    body = legacy("x").request.encode()
    async with open_house(FakeUpstream()) as house:
        direct = Direct(house.endpoint, fields=POST, parts=[body[at : at + 1] for at in range(len(body))] + [b""])
        await direct.run()
        assert direct.status == 200


@pytest.mark.parametrize("parts", [[b"[" * 101], [b"[" * 50] * 3, [b"[" * 50] * 1000])
async def test_a_body_past_the_limit(autojump_clock: MockClock, parts: list[bytes]) -> None:
    async with open_house(FakeUpstream(), limits=Limits(body=100)) as house:
        direct = Direct(house.endpoint, fields=POST, parts=parts)
        await direct.run()
        assert (direct.status, direct.json["error"]["code"]) == (413, 1104)


async def test_a_client_that_leaves_within_its_body(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        direct = Direct(house.endpoint, fields=POST, parts=[])
        direct.leave()
        with pytest.raises(PeerGone):
            await direct.run()
        assert (direct.sent, house.upstream.calls) == ([], [])


@ERAS
async def test_the_deadline(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream(hang), timeouts=TIMES) as house:
        direct = Direct(house.endpoint, exchange)
        await direct.run()
        assert (trio.current_time(), direct.status, direct.json["error"]["code"], direct.json["id"]) == (60, 504, 1004, "a")
        assert (house.upstream.open, house.gateway.admission.in_flight) == (set(), 0)


@ERAS
async def test_the_deadline_of_a_stream_and_the_progress_that_pushes_it(autojump_clock: MockClock, exchange: Exchange) -> None:
    feed = Feed()

    async def go_on() -> None:
        for _ in range(100):
            await trio.sleep(50)
            feed.put(note())

    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house, trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        direct = Direct(house.endpoint, exchange)
        await direct.run()
        assert trio.current_time() == pytest.approx(600)
        assert (direct.messages[-1]["error"]["code"], direct.messages[-1]["id"], direct.whole) == (1004, "a", True)
        nursery.cancel_scope.cancel()


async def test_a_modern_clients_leaving_cancels(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(hang)) as house, trio.open_nursery() as nursery:
        direct = Direct(house.endpoint, modern("x"))
        nursery.start_soon(direct.run)
        await wait_all_tasks_blocked()
        direct.leave()
        await direct.ended.wait()
        assert (house.upstream.cancelled, direct.sent, trio.current_time()) == (house.upstream.calls, [], 0)


async def test_a_legacy_clients_leaving_does_not(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(after(10))) as house, trio.open_nursery() as nursery:
        direct = Direct(house.endpoint, legacy("x"))
        nursery.start_soon(direct.run)
        await wait_all_tasks_blocked()
        direct.leave()
        await direct.ended.wait()
        assert (house.upstream.cancelled, trio.current_time(), house.upstream.open) == ([], 10, set())


async def test_silent_streams_have_comments(autojump_clock: MockClock) -> None:
    feed = Feed()
    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house, trio.open_nursery() as nursery:
        direct = Direct(house.endpoint, legacy("x", id="a"))
        nursery.start_soon(direct.run)
        await trio.sleep(46)
        assert direct.comments == 3
        feed.put(RESPONSE)
        feed.end()
        await direct.ended.wait()
        assert (direct.whole, len(direct.messages)) == (True, 1)


async def test_no_comment_follows_the_end_however_long_the_client_takes_to_read_it(autojump_clock: MockClock) -> None:
    feed = Feed()
    async with open_house(FakeUpstream(feeding(feed)), timeouts=TIMES) as house, trio.open_nursery() as nursery:
        direct = Direct(house.endpoint, legacy("x", id="a"))
        nursery.start_soon(direct.run)
        await trio.sleep(1)
        feed.put(RESPONSE)
        await wait_all_tasks_blocked()
        direct.before_send = trio.Event()
        feed.end()
        await trio.sleep(40)
        assert direct.whole
        direct.before_send.set()
        await direct.ended.wait()
        assert direct.comments == 0


# ---------------------------------------------------- GET
async def test_a_get_stream_stands_and_ends_with_its_server(autojump_clock: MockClock) -> None:
    feed = Feed(note())
    async with open_house(FakeUpstream(), timeouts=TIMES) as house, trio.open_nursery() as nursery:
        house.upstream.on_listen = feeding(feed)
        direct = Direct(house.endpoint, method="GET", fields=ACCEPT)
        nursery.start_soon(direct.run)
        await trio.sleep(3601)
        assert (direct.status, len(direct.messages), direct.comments, direct.ended.is_set()) == (200, 1, 240, False)
        feed.end()
        await direct.ended.wait()
        assert direct.whole


async def test_leaving_a_get_stream_gives_it_back(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house, trio.open_nursery() as nursery:
        direct = Direct(house.endpoint, method="GET", fields=ACCEPT)
        nursery.start_soon(direct.run)
        await wait_all_tasks_blocked()
        assert len(house.upstream.open) == 1
        direct.leave()
        await direct.ended.wait()
        assert house.upstream.open == set()


@pytest.mark.parametrize(("error", "status"), [(SessionMissing("which session?"), 400), (UpstreamAnswered(405, (), b""), 405)])
async def test_a_get_that_is_refused(autojump_clock: MockClock, error: Exception, status: int) -> None:
    async def refuse(exchange: Exchange) -> Feed:
        raise error

    async with open_house(FakeUpstream()) as house:
        house.upstream.on_listen = refuse
        direct = Direct(house.endpoint, method="GET", fields=ACCEPT)
        await direct.run()
        assert (direct.status, direct.whole) == (status, True)


async def test_a_get_stream_that_breaks(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        house.upstream.on_listen = feeding(Feed(note(), UpstreamBroken("it broke")))
        direct = Direct(house.endpoint, method="GET", fields=ACCEPT)
        await direct.run()
        assert (direct.status, len(direct.messages), direct.whole) == (200, 1, True)


# ---------------------------------------------------- 2024-11-05
async def test_the_stream_of_2024_has_comments_and_ends_with_its_client(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), timeouts=TIMES, sse_path="/sse") as house, trio.open_nursery() as nursery:
        direct = Direct(house.endpoint, method="GET", path="/sse", fields=ACCEPT)
        nursery.start_soon(direct.run)
        await trio.sleep(46)
        assert (direct.status, direct.comments, direct.ended.is_set()) == (200, 3, False)
        direct.leave()
        await direct.ended.wait()
        assert trio.current_time() == 46
