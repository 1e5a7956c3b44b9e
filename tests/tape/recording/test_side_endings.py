"""How an exchange over HTTP ends otherwise than by its answer: refused by whomever, out of time, left by its client, drained. What the client was told
is on tape, once, and nothing that it was not told."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from dialogue import NO_ID, POST, legacy, message, modern
from fakes import FakeUpstream, Feed, OnCall, answer_to, failing, feeding, hang, note
from taping import Memory, recording
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import House, open_house, posted

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import ProxyError, UpstreamAnswered, UpstreamBroken, UpstreamExited
from shadowproxy.exchange import Call, Exchange, Reply
from shadowproxy.tape.frame import Http
from shadowproxy.wire.jsonrpc import BadMessage

ERAS = pytest.mark.parametrize("exchange", [legacy("x", id="a"), modern("x", id="a")], ids=["legacy", "modern"])
ENGINES = pytest.mark.parametrize("engine", ["native", "hypercorn"])
ASKED = '> request x #1 id="a" POST'


@asynccontextmanager
async def recorded(on_call: OnCall, **settings: Any) -> AsyncIterator[tuple[House, Memory]]:
    memory = Memory()
    async with recording(memory) as recorder, open_house(FakeUpstream(on_call), recorder.around(()), **settings) as house:
        yield house, memory


# ---------------------------------------------------- refusals
@ERAS
@pytest.mark.parametrize("error", [UpstreamBroken("no"), UpstreamExited("gone", {"status": 1}), BadMessage("params must be an object", -32602)])
async def test_a_refusal_is_what_the_client_got(autojump_clock: MockClock, exchange: Exchange, error: Exception) -> None:
    async with recorded(failing(error)) as (house, memory):
        response = await house.connect().post(exchange)
    name = error.name if isinstance(error, ProxyError) else "proxy_error"
    assert memory.told == [ASKED, f'< refusal #1 id="a" re=1 {response.status} {name}']
    assert memory.frames[1].value() == response.json
    assert memory.frames[1].is_error


async def test_a_refusal_in_the_words_of_http(autojump_clock: MockClock) -> None:
    refusal = UpstreamAnswered(401, ((b"www-authenticate", b"Bearer"), (b"server", b"x")), b"who are \xff you?")
    async with recorded(failing(refusal)) as (house, memory):
        assert (await house.connect().post(legacy("x", id="a"))).status == 401
    assert memory.told[1] == "< refusal #1 re=1 401 upstream_refused"
    frame = memory.frames[1]
    assert frame.http is not None
    assert (frame.http.headers, frame.text, frame.message) == ((("www-authenticate", "Bearer"),), "who are � you?", None)


@ERAS
async def test_a_stream_that_breaks_ends_with_a_refusal(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded(feeding(Feed(note(), UpstreamBroken("midway")))) as (house, memory):
        events = await house.connect().stream(exchange)
        heard = [one async for one in messages(events)]
    assert memory.told == [ASKED, "< notification notifications/progress #1 @x1 200", '< refusal #1 @x1 id="a" re=1 upstream_broken']
    assert memory.frames[2].value() == heard[-1]


async def messages(events: Any) -> AsyncIterator[Any]:
    while (one := await events.message()) is not None:
        yield one


@ERAS
async def test_a_request_that_is_not_admitted(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded(hang, limits=Limits(exchanges=1, queue=1), timeouts=Timeouts(queue=3, request=100)) as (house, memory):
        first, second = house.connect(), house.connect()
        await first.send(posted(modern("first")))
        await wait_all_tasks_blocked()
        assert (await second.post(exchange)).status == 503
        first.leave()
        await wait_all_tasks_blocked()
    assert memory.told == ["> request first #1 id=1 POST", '> request x #2 id="a" POST', '< refusal #2 id="a" re=2 503 overloaded', "> cancelled #1 re=1"]
    assert memory.frames[2].http == Http(None, 503, (("retry-after", "1"),))


async def test_a_session_that_nobody_knows(autojump_clock: MockClock) -> None:
    async with recorded(hang) as (house, memory):
        response = await house.connect().post(legacy("x", id="a"), mcp_session_id="unknown")
        await house.connect().post(legacy("notifications/x", id=NO_ID), mcp_session_id="unknown")
    assert memory.told == [ASKED, '< refusal #1 id="a" re=1 404 session_unknown', "> notification notifications/x POST", "< refusal re=3 404 session_unknown"]
    assert memory.frames[1].value() == response.json


@pytest.mark.parametrize("request_", [b"", b"{", b"[]", b"{}"])
async def test_what_is_no_message_is_no_part_of_a_conversation(autojump_clock: MockClock, request_: bytes) -> None:
    async with recorded(hang) as (house, memory):
        assert (await house.connect().ask(body=request_, fields=POST)).status == 400
        assert (await house.connect().ask(target="/elsewhere", body=b"{}", fields=POST)).status == 404
    assert memory.told == []


async def test_a_notification_and_an_end_that_are_refused(autojump_clock: MockClock) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise UpstreamAnswered(405, (), b"")

    async with recorded(hang) as (house, memory):
        house.upstream.on_notify = house.upstream.on_end = refuse
        assert (await house.connect().post(legacy("notifications/x", id=NO_ID))).status == 405
        assert (await house.connect().ask("DELETE")).status == 405
    assert memory.told == [
        "> notification notifications/x POST", "< refusal re=1 405 upstream_refused",
        "> end DELETE", "< refusal re=3 405 upstream_refused",
    ]  # fmt: skip


async def test_a_listener_that_is_refused(autojump_clock: MockClock) -> None:
    async def refuse(exchange: Exchange) -> Any:
        raise UpstreamAnswered(405, (), b"")

    async with recorded(hang) as (house, memory):
        house.upstream.on_listen = refuse
        assert (await house.connect().ask("GET", accept="text/event-stream")).status == 405
    assert memory.told == ["> open #1 @g1 GET", "< refusal #1 re=1 405 upstream_refused"]


async def test_a_bug_of_an_upstream(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with recorded(failing(ValueError("a \ud800 bug"))) as (house, memory):
        assert (await house.connect().post(modern("x", id="a"))).status == 500
    assert memory.told[1] == "< refusal #1 re=1 ValueError"
    assert memory.frames[1].text == "a ? bug"


# ---------------------------------------------------- time
@ENGINES
@ERAS
async def test_a_deadline(autojump_clock: MockClock, exchange: Exchange, engine: str) -> None:
    async with recorded(hang, timeouts=Timeouts(request=7), http_engine=engine) as (house, memory):
        response = await house.connect().post(exchange)
    assert memory.told == [ASKED, '< refusal #1 id="a" re=1 504 upstream_timeout']
    assert (response.status, memory.frames[1].value()) == (504, response.json)


@ERAS
async def test_the_deadline_of_a_stream(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded(feeding(Feed(note())), timeouts=Timeouts(request=7)) as (house, memory):
        events = await house.connect().stream(exchange)
        heard = [one async for one in messages(events)]
    assert memory.told[1:] == ["< notification notifications/progress #1 @x1 200", '< refusal #1 @x1 id="a" re=1 upstream_timeout']
    assert memory.frames[2].value() == heard[-1]


async def test_the_deadline_of_one_in_a_batch(autojump_clock: MockClock) -> None:
    async with recorded(hang, timeouts=Timeouts(request=7)) as (house, memory):
        response = await house.connect().ask(body=b'[{"jsonrpc":"2.0","id":"a","method":"x"}]', fields=POST)
    assert memory.told == ['> request x #1 id="a" POST', '< refusal #1 @x1 id="a" re=1 upstream_timeout']
    assert memory.frames[1].value() == response.messages[0]


# ---------------------------------------------------- clients that leave
async def test_a_modern_client_that_leaves_has_cancelled(autojump_clock: MockClock) -> None:
    for engine in ("native", "hypercorn"):
        async with recorded(hang, http_engine=engine) as (house, memory):
            client = house.connect()
            await client.send(posted(modern("x", id="a")))
            await wait_all_tasks_blocked()
            client.leave()
            await trio.sleep(1)
        assert memory.told == [ASKED, "> cancelled #1 re=1"], engine


async def test_a_modern_client_that_leaves_a_stream(autojump_clock: MockClock) -> None:
    async with recorded(feeding(Feed(note()))) as (house, memory):
        client = house.connect()
        await (await client.stream(modern("x", id="a"))).message()
        client.leave()
        await trio.sleep(1)
    assert memory.told == [ASKED, "< notification notifications/progress #1 @x1 200", "> cancelled #1 re=1"]


async def test_a_modern_client_that_leaves_while_it_is_written_to(autojump_clock: MockClock) -> None:
    feed = Feed(note())
    async with recorded(feeding(feed)) as (house, memory):
        client = house.connect()
        await (await client.stream(modern("x", id="a"))).message()
        client.stop_reading()
        feed.put(note(), note())
        await wait_all_tasks_blocked()
        client.leave()
        await trio.sleep(1)
    assert memory.told[2:] == ["< notification notifications/progress #1 @x1", "> cancelled #1 re=1"]


async def test_a_legacy_client_that_leaves_cancels_nothing(autojump_clock: MockClock) -> None:
    feed = Feed(note())
    async with recorded(feeding(feed)) as (house, memory):
        client = house.connect()
        await (await client.stream(legacy("x", id="a"))).message()
        client.leave()
        feed.put(note(), note())
        await trio.sleep(1)
        feed.put(message(id="a", result={}))
        feed.end()
        await trio.sleep(1)
    assert memory.told[1:] == [
        "< notification notifications/progress #1 @x1 200",
        "< notification notifications/progress #1 @x1",
        "> left #1 @x1 re=1",  # what was to be sent next told it
        "< notification notifications/progress #1 @x1",
        '< response #1 @x1 id="a" re=1',
    ]


async def test_a_client_that_leaves_its_get_stream(autojump_clock: MockClock) -> None:
    async with recorded(hang) as (house, memory):
        client = house.connect()
        await client.get()
        client.leave()
        await trio.sleep(1)
    assert memory.told == ["> open #1 @g1 GET", "> cancelled #1 re=1"]


async def test_a_legacy_cancellation_is_a_notification(autojump_clock: MockClock) -> None:
    async with recorded(hang, timeouts=Timeouts(request=7)) as (house, memory):
        client = house.connect()
        await client.send(posted(legacy("x", id="a")))
        await wait_all_tasks_blocked()
        await house.connect().post(legacy("notifications/cancelled", {"requestId": "a"}, id=NO_ID))
        await client.response()
    assert memory.told[1] == "> notification notifications/cancelled POST"


# ---------------------------------------------------- the drain
@ENGINES
async def test_a_drain_ends_what_stands_and_tells_the_rest(autojump_clock: MockClock, engine: str) -> None:
    async def call(exchange: Exchange) -> Reply:
        return Feed(note()) if exchange.request.method == "subscriptions/listen" else await hang(exchange)

    async with recorded(call, http_engine=engine) as (house, memory):
        subscriber, listener, waiting = house.connect(), house.connect(), house.connect()
        subscription = await subscriber.stream(modern("subscriptions/listen", id="sub"))
        await subscription.message()
        stream = await listener.get()
        await waiting.send(posted(modern("x", id="a")))
        await wait_all_tasks_blocked()
        house.server.drain()
        end, closed = [one async for one in messages(subscription)], [one async for one in messages(stream)]
        house.server.cancel("shutdown")
        refused = await waiting.response()
    assert (len(end), closed, refused.status) == (1, [], 503)
    rest = memory.told[4:]
    assert sorted(rest[:2]) == ["< close #2 @g2", '< response #1 @x1 id="sub" re=1']
    assert rest[2:] == ['< refusal #3 id="a" re=4 503 overloaded']
    assert json.loads(bytes(next(frame for frame in memory.frames if frame.kind == "response").message or b"")) == end[0]
    assert memory.frames[-1].value() == refused.json


async def test_a_proxy_that_is_left_at_once_tells_nobody_anything(autojump_clock: MockClock) -> None:
    async with recorded(hang) as (house, memory):
        await house.connect().send(posted(modern("x", id="a")))
        await wait_all_tasks_blocked()
    assert memory.told == [ASKED]


# ---------------------------------------------------- legs
class Rewriting:
    """Changes what is asked and what is answered; tries again once if the server breaks; waits for three seconds at most."""

    async def call(self, next: Call, exchange: Exchange) -> Reply:
        exchange.request = message(id=1, method="rewritten", params={})
        try:
            with trio.fail_after(3):
                reply = await next(exchange)
        except UpstreamBroken:
            reply = await next(exchange)
        except trio.TooSlowError:
            raise UpstreamExited("I have waited") from None
        return message(id=1, result={"changed": True}) if not isinstance(reply, Feed) and getattr(reply, "members", None) else reply


async def test_an_interceptor_that_rewrites_is_visible(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder, open_house(FakeUpstream(), recorder.around([Rewriting()])) as house:
        await house.connect().post(modern("original"))
    assert memory.told == [
        "client > request original #1 id=1 POST", "server > request rewritten #1 id=1 POST",
        "server < response #1 id=1 re=2 200", "client < response #1 id=1 re=1 200",
    ]  # fmt: skip
    assert [frame.value()["result"] for frame in memory.frames[2:]] == [{"of": "rewritten"}, {"changed": True}]


async def test_an_interceptor_that_tries_again(autojump_clock: MockClock) -> None:
    tries = iter([UpstreamBroken("once"), None])

    async def call(exchange: Exchange) -> Reply:
        if (error := next(tries)) is not None:
            raise error
        return answer_to(exchange)

    memory = Memory()
    async with recording(memory) as recorder, open_house(FakeUpstream(call), recorder.around([Rewriting()])) as house:
        assert (await house.connect().post(modern("original"))).status == 200
    assert memory.told[1:] == [
        "server > request rewritten #1 id=1 POST", "server < refusal #1 id=1 re=2 502 upstream_broken",
        "server > request rewritten #1 id=1 POST", "server < response #1 id=1 re=4 200", "client < response #1 id=1 re=1 200",
    ]  # fmt: skip


async def test_an_interceptor_that_gives_up_before_the_client_does(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder, open_house(FakeUpstream(hang), recorder.around([Rewriting()])) as house:
        assert (await house.connect().post(modern("original"))).status == 502
    assert memory.told[2:] == ["server > cancelled #1 re=2", "client < refusal #1 id=1 re=1 502 upstream_exited"]


async def test_each_leg_links_its_own_answers(autojump_clock: MockClock) -> None:
    class Idle:
        async def call(self, next: Call, exchange: Exchange) -> Reply:
            return await next(exchange)

    memory, feed = Memory(), Feed(message(id="q", method="roots/list"))
    async with recording(memory) as recorder, open_house(FakeUpstream(feeding(feed)), recorder.around([Idle()])) as house:
        events = await house.connect().stream(legacy("x"))
        await events.message()
        await house.connect().post(Exchange(message(id="q", result={}), "legacy", None, POST))
    assert memory.told[2:6] == [
        'server < request roots/list #1 @x1 id="q" 200', 'client < request roots/list #1 @x1 id="q" 200',
        'client > response id="q" re=4 POST', 'server > response id="q" re=3 POST',
    ]  # fmt: skip
