"""What a tape says of traffic over HTTP: every kind of message in both eras, as one reads it with `jq`."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from dialogue import LEGACY, MODERN, NO_ID, POST, Json, legacy, message, modern
from fakes import FakeUpstream, Feed, OnCall, answer_to, echo, feeding, note
from taping import Memory, recording
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import House, open_house

from shadowproxy.exchange import Exchange, Reply
from shadowproxy.wire.jsonrpc import decode_batch
from shadowproxy.wire.sse import Event

INITIALIZE = legacy("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
INFO = {"name": "server", "version": "1.0"}


@asynccontextmanager
async def recorded(on_call: OnCall = echo, memory: Memory | None = None, **settings: object) -> AsyncIterator[tuple[House, Memory]]:
    """A house that is recorded. When the block is left everything is on tape."""
    memory = memory or Memory()
    async with recording(memory) as recorder, open_house(FakeUpstream(on_call), recorder.around(()), **settings) as house:
        yield house, memory


async def hello(exchange: Exchange) -> Reply:
    if exchange.request.method == "initialize":
        return answer_to(exchange, protocolVersion=LEGACY, serverInfo=INFO, capabilities={})
    return await echo(exchange)


# ---------------------------------------------------- calls
@pytest.mark.parametrize("exchange", [legacy("tools/list", id="a"), modern("tools/list", id="a")], ids=["legacy", "modern"])
async def test_a_call_answered_with_json(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded() as (house, memory):
        assert (await house.connect().post(exchange)).status == 200
    assert memory.told == ['> request tools/list #1 id="a" POST', '< response #1 id="a" re=1 200']
    request, response = memory.frames
    assert request.value() == json.loads(exchange.request.encode())
    assert response.value() == {"jsonrpc": "2.0", "id": "a", "result": {"of": "tools/list"}}
    assert request.http is not None
    assert ("content-type", "application/json") in request.http.headers


async def test_messages_stay_byte_for_byte_but_for_line_ends(autojump_clock: MockClock) -> None:
    body = b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a" : 1.50,\r\n "a":"\xc3\xa4","b":12345678901234567890123}}'
    async with recorded() as (house, memory):
        assert (await house.connect().ask(body=body, fields=POST)).status == 200
    assert bytes(memory.frames[0].message or b"") == body.replace(b"\r\n", b"  ")


async def test_the_fields_that_matter_are_kept_and_no_others(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        exchange.reply_headers = ((b"cache-control", b"no-store"), (b"server", b"x"))
        exchange.status = 404
        return answer_to(exchange)

    async with recorded(call) as (house, memory):
        await house.connect().post(modern("tools/call", {"name": "add", "arguments": {}}), x_trace="7", mcp_param_city="Rome", user_agent="curl")
    request, response = memory.frames
    assert request.http is not None
    assert response.http is not None
    assert dict(request.http.headers) == {
        "content-type": "application/json", "accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN, "mcp-method": "tools/call",
        "mcp-name": "add", "mcp-param-city": "Rome", "user-agent": "curl"}  # fmt: skip
    assert (response.http.status, response.http.headers) == (404, (("cache-control", "no-store"),))


async def test_a_call_answered_with_a_stream(autojump_clock: MockClock) -> None:
    feed = Feed(note(progressToken="t", progress=1), note("notifications/message", data="x"), message(id=1, result={}), ended=True)
    async with recorded(feeding(feed)) as (house, memory):
        events = await house.connect().stream(modern("tools/call", {"name": "add"}, meta={"progressToken": "t"}))
        while await events.message():
            pass
    assert memory.told == [
        '> request tools/call #1 id=1 token="t" POST',
        '< notification notifications/progress #1 @x1 token="t" 200',
        "< notification notifications/message #1 @x1",
        "< response #1 @x1 id=1 re=1",
    ]


async def test_an_answer_of_one_event(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        exchange.as_event = True
        reply = answer_to(exchange)
        reply.event_id, reply.retry = b"e7", 50
        return reply

    async with recorded(call) as (house, memory):
        assert (await house.connect().post(modern("x")))["content-type"] == "text/event-stream"
    assert memory.told[1] == "< response #1 @x1 id=1 re=1 200 event-id=e7 retry=50"


async def test_a_server_that_asks_and_the_client_that_answers(autojump_clock: MockClock) -> None:
    feed = Feed(message(id="q", method="sampling/createMessage", params={}), message(id=5, method="roots/list"))

    async def call(exchange: Exchange) -> Reply:
        return feed

    async with recorded(call) as (house, memory):
        events = await house.connect().stream(legacy("tools/call", {"name": "ask"}))
        await events.message()
        await events.message()
        for answer in (message(id=5, result={"roots": []}), message(id="q", error={"code": -1, "message": "no"}), message(id="nobody", result={})):
            assert (await house.connect().post(Exchange(answer, "legacy", None, POST))).status == 202
        feed.put(message(id=1, result={}))
        await events.message()
    assert memory.told == [
        "> request tools/call #1 id=1 POST",
        '< request sampling/createMessage #1 @x1 id="q" 200',
        "< request roots/list #1 @x1 id=5",
        "> response id=5 re=3 POST",
        '> response id="q" re=2 POST',
        '> response id="nobody" POST',
        "< response #1 @x1 id=1 re=1",
    ]


async def test_a_stream_with_event_ids_that_the_server_closes_and_the_client_resumes(autojump_clock: MockClock) -> None:
    first = note()
    first.event_id = b"7"
    rest = message(id=1, result={})
    rest.event_id = b"8"
    async with recorded(feeding(Feed(Event(b"", b"6", b"", 2000), first, ended=True))) as (house, memory):
        house.upstream.on_listen = feeding(Feed(rest, ended=True))
        client = house.connect()
        events = await client.stream(legacy("tools/call", {"name": "slow"}))
        while await events.message():
            pass
        events = await house.connect().get(last_event_id="7")
        while await events.message():
            pass
    assert memory.told == [
        "> request tools/call #1 id=1 POST",
        "< event #1 @x1 200 event-id=6 retry=2000",
        "< notification notifications/progress #1 @x1 event-id=7",
        "< close #1 @x1",
        "> open #2 @g2 GET",
        "< response #2 @g2 id=1 re=1 200 event-id=8",
        "< close #2 @g2",
    ]
    assert memory.frames[4].http is not None
    assert ("last-event-id", "7") in memory.frames[4].http.headers


async def test_an_event_without_a_message_keeps_its_name_and_data(autojump_clock: MockClock) -> None:
    async with recorded(feeding(Feed(Event(b'{"a":1}', b"", b"greeting", None), message(id=1, result={}), ended=True))) as (house, memory):
        events = await house.connect().stream(legacy("x"))
        while await events.message():
            pass
    assert memory.told[1] == "< event #1 @x1 200 event=greeting event-id= data={\"a\":1}"
    assert memory.frames[1].text is None


async def test_a_comment_passes_and_is_on_tape(autojump_clock: MockClock) -> None:
    async with recorded(feeding(Feed(Event(b"", comment=b"still\nthere"), message(id=1, result={}), ended=True))) as (house, memory):
        events = await house.connect().stream(legacy("x"))
        assert await events.client.part() == b": still\n: there\n\n"
        assert await events.message() is not None
    assert memory.told[1:] == ["< event #1 @x1 200 :still\nthere", "< response #1 @x1 id=1 re=1"]


# ---------------------------------------------------- sessions
async def test_a_session_from_its_handshake_to_its_end(autojump_clock: MockClock) -> None:
    async with recorded(hello) as (house, memory):
        client = house.connect()
        id = (await client.post(INITIALIZE))["mcp-session-id"] or ""
        await client.post(legacy("notifications/initialized", id=NO_ID), mcp_session_id=id)
        house.upstream.on_listen = feeding(Feed(note("notifications/tools/list_changed"), ended=True))
        events = await house.connect().get(mcp_session_id=id)
        while await events.message():
            pass
        await client.post(legacy("tools/list", id=2), mcp_session_id=id)
        assert (await client.ask("DELETE", mcp_session_id=id)).status == 200
    assert memory.told == [
        "> request initialize #1 session=s1 id=1 POST",
        "< response #1 session=s1 id=1 re=1 200",
        "< about session=s1",
        "> notification notifications/initialized session=s1 POST",
        "> open #2 @g2 session=s1 GET",
        "< notification notifications/tools/list_changed #2 @g2 session=s1 200",
        "< close #2 @g2 session=s1",
        "> request tools/list #3 session=s1 id=2 POST",
        "< response #3 session=s1 id=2 re=8 200",
        "> end session=s1 DELETE",
    ]
    assert memory.frames[2].value() == {"era": "legacy", "server": INFO, "protocolVersion": LEGACY}


async def test_what_is_learned_of_a_modern_server(autojump_clock: MockClock) -> None:
    body = b'{ "jsonrpc":"2.0", "id":1, "result": { "supportedVersions" : ["2026-07-28"],  "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"server"} } } }'

    async def call(exchange: Exchange) -> Reply:
        return type(exchange.request).decode(body)

    async with recorded(call) as (house, memory):
        answer = await house.connect().post(modern("server/discover"))
    assert memory.frames[2].value() == {"era": "modern", "server": {"name": "server"}, "protocolVersion": MODERN}
    assert b'{ "supportedVersions" : ["2026-07-28"],' in answer.body  # looked at, and left as it came


@pytest.mark.parametrize("result", ['"no"', "[]", '{"serverInfo":7}', "null"])
async def test_a_server_that_greets_oddly_is_no_matter(autojump_clock: MockClock, result: str) -> None:
    async def call(exchange: Exchange) -> Reply:
        return message(id=1, result=json.loads(result))

    async with recorded(call) as (house, memory):
        assert (await house.connect().post(modern("server/discover"))).status == 200
    assert memory.told[:2] == ["> request server/discover #1 id=1 POST", "< response #1 id=1 re=1 200"]


async def test_an_idle_session_that_is_ended_by_the_proxy(autojump_clock: MockClock) -> None:
    async with recorded(hello) as (house, memory):
        await house.connect().post(INITIALIZE)
        await trio.sleep(house.config.timeouts.session_idle + 1)
        assert len(house.sessions) == 0
    assert memory.told[-1] == "> end session=s1"


async def test_in_a_directory_each_session_has_a_tape_of_its_own(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory, per_session=True) as recorder, open_house(FakeUpstream(hello), recorder.around(())) as house:
        ids = [(await house.connect().post(INITIALIZE))["mcp-session-id"] or "" for _ in range(2)]
        for id in (*ids, ids[0]):
            await house.connect().post(legacy("tools/list"), mcp_session_id=id)
        await house.connect().post(modern("tools/list"))
    assert {name: [(frame.n, frame.kind, frame.exchange) for frame in frames] for name, frames in memory.tapes.items()} == {
        "s1": [(1, "request", 1), (2, "response", 1), (3, "about", None), (4, "request", 3), (5, "response", 3), (6, "request", 5), (7, "response", 5)],
        "s2": [(1, "request", 2), (2, "response", 2), (3, "about", None), (4, "request", 4), (5, "response", 4)],
        "": [(1, "request", 6), (2, "response", 6)],
    }


# ---------------------------------------------------- the modern era's subscriptions; batches
async def test_a_subscription_stays_open_until_its_server_ends_it(autojump_clock: MockClock) -> None:
    feed = Feed(note("notifications/subscriptions/acknowledged"))
    async with recorded(feeding(feed)) as (house, memory):
        events = await house.connect().stream(modern("subscriptions/listen", {"toolsListChanged": True}, id="sub"))
        await events.message()
        await trio.sleep(500)
        feed.put(note("notifications/tools/list_changed"), message(id="sub", result={"resultType": "complete"}))
        feed.end()
        while await events.message():
            pass
    assert memory.told == [
        '> request subscriptions/listen #1 id="sub" POST',
        "< notification notifications/subscriptions/acknowledged #1 @x1 200",
        "< notification notifications/tools/list_changed #1 @x1",
        '< response #1 @x1 id="sub" re=1',
    ]
    assert memory.frames[2].t - memory.frames[1].t == pytest.approx(500, abs=0.1)
    assert memory.frames[2].wall == pytest.approx(1_790_000_000 + memory.frames[2].t)


async def test_a_batch_is_its_messages_each_an_exchange(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        await trio.sleep(1 if exchange.request.method == "a" else 2)
        return answer_to(exchange)

    batch: list[Json] = [{"id": 1, "method": "a"}, {"method": "notifications/x"}, {"id": 2, "method": "b"}, {"id": 9, "result": {}}]
    async with recorded(call) as (house, memory):
        body = json.dumps([{"jsonrpc": "2.0", **one} for one in batch]).encode()
        assert len((await house.connect().ask(body=body, fields=POST)).messages) == 2
    assert memory.told[:2] == ["> notification notifications/x POST", "> response id=9 POST"]
    asked = {line.split(" #")[0]: frame for line, frame in zip(memory.told, memory.frames, strict=True) if frame.kind == "request"}
    assert {name: frame.exchange for name, frame in asked.items()}.keys() == {"> request a", "> request b"}
    assert [frame.batch for frame in memory.frames] == [1, 1, 1, 1, None, None]
    assert [(frame.re, frame.stream) for frame in memory.frames[4:]] == [(asked[f"> request {name}"].n, f"x{asked[f'> request {name}'].exchange}") for name in "ab"]


async def test_a_batch_of_a_server_is_marked_too(autojump_clock: MockClock) -> None:
    together = decode_batch(b"[%b,%b]" % (note().encode(), message(id=1, result={}).encode()))
    async with recorded(feeding(Feed(*together, ended=True))) as (house, memory):
        events = await house.connect().stream(legacy("x"))
        while await events.message():
            pass
    assert [frame.batch for frame in memory.frames] == [None, 2, 2]


async def test_a_client_of_2024_speaks_over_its_one_stream(autojump_clock: MockClock) -> None:
    async with recorded(sse_path="/sse") as (house, memory):
        client = house.connect()
        await client.send(b"GET /sse HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await client.head("GET")
        endpoint = (await client.part()).decode().split("data: ")[1].split("\n")[0].strip()
        await house.connect().ask(target=endpoint, body=legacy("ping").request.encode(), fields=POST)
        await client.part()
        await wait_all_tasks_blocked()
        client.leave()
        await trio.sleep(10)
    assert memory.told[:2] == ["> request ping #1 session=s1 id=1", "< response #1 session=s1 id=1 re=1"]
