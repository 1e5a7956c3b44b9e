"""Replies that come as an event stream: what is in them, how they end, and what a bad end costs."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing
from cancelling import FOR_EVER, Sword, cancel_everywhere, virtually
from dialogue import Json, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import Wire, chunk, head_of

from shadowproxy.connection import StreamConnection
from shadowproxy.errors import UpstreamBroken
from shadowproxy.upstream.events import END, EventReplies, StandingReplies
from shadowproxy.upstream.http1 import HttpClient
from shadowproxy.wire.jsonrpc import Message, Raw
from shadowproxy.wire.sse import Event

LIMIT = 10_000
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
STREAM = head_of(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
NOTE: Json = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
RESPONSE: Json = {"jsonrpc": "2.0", "id": 7, "result": {"ok": True}}
Script = Callable[[Wire], Awaitable[None]]


def event(message: Json) -> bytes:
    return b"data: " + json.dumps(message).encode() + b"\n\n"


def restore(message: Message) -> Message:
    """What an upstream does with responses: the client's id for the one that was sent."""
    if bytes(message.members["id"]) != b"7":
        raise UpstreamBroken("another id")
    message.members["id"] = Raw(b'"mine"')
    return message


@asynccontextmanager
async def replies_to(script: Script, standing: bool = False) -> AsyncIterator[tuple[EventReplies, HttpClient]]:
    """The replies of a request that `script` answers, its head included."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    client = HttpClient(StreamConnection(ours, 30), LIMIT)
    wire = Wire(theirs, 0)

    async def serve() -> None:
        await wire.request()
        await script(wire)

    with trio.fail_after(FOR_EVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await client.request(GET)
            kind = StandingReplies if standing else EventReplies
            yield kind(client, LIMIT, restore), client
            client.abort()
            nursery.cancel_scope.cancel()


def sending(*pieces: bytes, close: bool = False) -> Script:
    async def script(wire: Wire) -> None:
        for piece in pieces:
            await wire.send(piece)
        if close:
            wire.close()

    return script


async def pulled(replies: EventReplies) -> list[Message | Event]:
    return [item async for item in replies]


def plainly(items: list[Message | Event]) -> list[Json | Event]:
    return [plain(item) if isinstance(item, Message) else item for item in items]


async def test_a_stream_gives_its_messages_and_ends_with_the_response(autojump_clock: trio.testing.MockClock) -> None:
    script = sending(STREAM, chunk(event(NOTE)), chunk(event(NOTE)), chunk(event(RESPONSE)), b"0\r\n\r\n")
    async with replies_to(script) as (replies, client):
        assert plainly(await pulled(replies)) == [NOTE, NOTE, {**RESPONSE, "id": "mine"}]
        assert replies.answered
        assert replies.over
        assert not replies.ready
        assert client.usable(), "from a clean boundary it can be lent again"
        assert trio.current_time() == 0


async def test_pull_is_the_backpressure(autojump_clock: trio.testing.MockClock) -> None:
    sent: list[int] = []

    async def script(wire: Wire) -> None:
        await wire.send(STREAM)
        for number in range(5):
            await wire.send(chunk(event(NOTE)))
            sent.append(number)

    async with replies_to(script) as (replies, _):
        for taken in range(1, 5):
            await replies.__anext__()
            await trio.sleep(1000)
            assert sent == list(range(taken))


BODY = b"".join([b": hello\n\n", b"id: 1\ndata:\n\n", b"id: 2\n", event(NOTE), b"retry: 500\n\n", b"event: ping\ndata: x\n\n", b"\xef\xbb\xbf", event(RESPONSE)])


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=len(BODY)), max_size=8), st.booleans())
def test_any_cut_gives_the_same(places: list[int], chunked: bool) -> None:
    at = sorted({0, *places, len(BODY)})
    parts = [BODY[start:end] for start, end in pairwise(at)]
    whole = BODY.replace(b"\xef\xbb\xbf", b"")
    parts = [part for part in parts if part]
    if chunked:
        script = sending(STREAM, *map(chunk, parts), b"0\r\n\r\n")
    else:
        script = sending(head_of(200, {"content-type": "text/event-stream"}), *parts, close=True)

    async def main() -> None:
        async with replies_to(script) as (replies, _):
            items = await pulled(replies)
            assert plainly(items)[:3] == [Event(b"", comment=b"hello"), Event(b"", b"1"), NOTE]
            assert isinstance(items[2], Message)
            assert items[2].event_id == b"2"
            assert items[3] == Event(b"", None, b"", 500)
            assert items[4] == Event(b"x", None, b"ping")
            assert (replies.last_event_id, replies.retry) == (b"2", 500)

    assert whole
    virtually(main)


async def test_ids_and_retry_travel_with_their_messages(autojump_clock: trio.testing.MockClock) -> None:
    script = sending(STREAM, chunk(b"id: a\nretry: 7\n" + event(NOTE)), chunk(b"id: b\n" + event(RESPONSE)), b"0\r\n\r\n")
    async with replies_to(script) as (replies, _):
        note, response = await pulled(replies)
        assert isinstance(note, Message)
        assert isinstance(response, Message)
        assert (note.event_id, note.retry, response.event_id, response.retry) == (b"a", 7, b"b", None)
        assert (replies.last_event_id, replies.retry) == (b"b", 7)


async def test_a_stream_without_a_response_is_broken(autojump_clock: trio.testing.MockClock) -> None:
    for script in (sending(STREAM, chunk(event(NOTE)), b"0\r\n\r\n"), sending(STREAM, b"0\r\n\r\n"), sending(STREAM, chunk(event(NOTE)), close=True)):
        async with replies_to(script) as (replies, _):
            with pytest.raises(UpstreamBroken):
                await pulled(replies)


async def test_with_an_event_id_it_may_be_resumed_so_it_just_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with replies_to(sending(STREAM, chunk(b"id: 1\ndata:\n\n"), b"0\r\n\r\n")) as (replies, _):
        assert await pulled(replies) == [Event(b"", b"1")]
        assert not replies.answered


async def test_what_a_server_says_after_its_response_is_not_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    for tail in (chunk(event(RESPONSE) + event(NOTE) + event(RESPONSE)), chunk(event(RESPONSE)) + chunk(event(NOTE)), chunk(event(RESPONSE) + b"id: 1\ndata:\n\n")):
        async with replies_to(sending(STREAM, tail, b"0\r\n\r\n")) as (replies, _):
            assert plainly(await pulled(replies)) == [{**RESPONSE, "id": "mine"}]
            assert replies.answered
            assert not replies.ready


async def test_a_body_that_does_not_end_costs_the_connection_not_the_time(autojump_clock: trio.testing.MockClock) -> None:
    async with replies_to(sending(STREAM, chunk(event(RESPONSE)))) as (replies, client):
        assert plainly([await replies.__anext__()]) == [{**RESPONSE, "id": "mine"}]
        assert trio.current_time() == 0
        assert await pulled(replies) == []
        assert trio.current_time() == pytest.approx(END)
        assert not client.usable()


async def test_a_body_that_ends_a_little_late_keeps_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def script(wire: Wire) -> None:
        await wire.send(STREAM + chunk(event(RESPONSE)))
        await trio.sleep(END / 2)
        await wire.send(b"0\r\n\r\n")

    async with replies_to(script) as (replies, client):
        assert len(await pulled(replies)) == 1
        assert client.usable()


async def test_a_connection_that_breaks_after_the_response_spoils_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    for last in (b"", b"zz\r\n", b"5\r\nab"):
        script = sending(STREAM, chunk(event(RESPONSE)), *([last] if last else []), close=True)
        async with replies_to(script) as (replies, client):
            assert plainly(await pulled(replies)) == [{**RESPONSE, "id": "mine"}]
            assert not client.usable()


@pytest.mark.parametrize(("data", "why"), [
    (b"data: nonsense\n\n", "no JSON-RPC message"),
    (b"data: [1]\n\n", "no JSON-RPC message"),
    (event({"jsonrpc": "2.0", "id": 8, "result": {}}), "another id"),
    (b"data: " + b"x" * (LIMIT + 1) + b"\n\n", "too large"),
    (b"data: x\n" * 2000, "too large"),
])
async def test_what_breaks_a_stream(autojump_clock: trio.testing.MockClock, data: bytes, why: str) -> None:
    async with replies_to(sending(STREAM, chunk(data), b"0\r\n\r\n")) as (replies, client):
        with pytest.raises(UpstreamBroken, match=why):
            await pulled(replies)
        client.abort()


async def test_what_came_before_an_event_that_is_too_large_is_still_delivered(autojump_clock: trio.testing.MockClock) -> None:
    data = event(NOTE) + b"data: " + b"x" * (LIMIT + 1) + b"\n\n"
    async with replies_to(sending(STREAM, chunk(data))) as (replies, _):
        assert plainly([await replies.__anext__()]) == [NOTE]
        with pytest.raises(UpstreamBroken):
            await replies.__anext__()


async def test_many_events_are_more_than_the_limit_of_one(autojump_clock: trio.testing.MockClock) -> None:
    """`limits.message` bounds a message, not a stream; even if all of it comes with the head."""
    many = event(NOTE) * 500
    assert len(many) > 3 * LIMIT
    async with replies_to(sending(STREAM + chunk(many + event(RESPONSE)) + b"0\r\n\r\n")) as (replies, _):
        assert len(await pulled(replies)) == 501


async def test_events_of_other_types_and_requests_of_the_server_pass(autojump_clock: trio.testing.MockClock) -> None:
    ask: Json = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}}
    data = b"event: ping\ndata: not json\n\n" + event(ask) + b"event: message\n" + event(RESPONSE)
    async with replies_to(sending(STREAM, chunk(data), b"0\r\n\r\n")) as (replies, _):
        assert plainly(await pulled(replies)) == [Event(b"not json", None, b"ping"), ask, {**RESPONSE, "id": "mine"}]


async def test_an_event_that_only_primed_is_no_message_when_it_is_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    """The TypeScript SDK's, of another stream: what follows it is still heard."""
    data = b"id: primed\ndata: {}\n\n" + event(NOTE)
    async with replies_to(sending(STREAM, chunk(data), b"0\r\n\r\n"), standing=True) as (replies, _):
        assert plainly(await pulled(replies)) == [Event(b"{}", b"primed"), NOTE]


async def test_a_standing_stream_ends_with_its_body_whatever_it_carries(autojump_clock: trio.testing.MockClock) -> None:
    data = event(NOTE) + event({**RESPONSE}) + event(NOTE)
    async with replies_to(sending(STREAM, chunk(data), b"0\r\n\r\n"), standing=True) as (replies, _):
        assert plainly(await pulled(replies)) == [NOTE, {**RESPONSE, "id": "mine"}, NOTE]
    async with replies_to(sending(STREAM, b"0\r\n\r\n"), standing=True) as (replies, _):
        assert await pulled(replies) == []


async def test_the_queue_is_told_of(autojump_clock: trio.testing.MockClock) -> None:
    async with replies_to(sending(STREAM + chunk(event(NOTE) * 2), chunk(event(RESPONSE)))) as (replies, _):
        assert replies.ready
        await replies.__anext__()
        assert replies.ready
        await replies.__anext__()
        assert not replies.ready


def test_cancelled_at_every_step_no_event_is_lost_or_doubled() -> None:
    script = sending(STREAM, chunk(event(NOTE)), chunk(event(NOTE) + event(NOTE)[:20]), chunk(event(NOTE)[20:]), chunk(event(RESPONSE)), b"0\r\n\r\n")

    async def scenario(sword: Sword) -> None:
        got: list[Message | Event] = []
        async with replies_to(script) as (replies, _):
            with sword():
                async for item in replies:
                    got.append(item)  # noqa: PERF401 -- what came before the sword fell counts
            got += await pulled(replies)
        assert plainly(got) == [NOTE, NOTE, NOTE, {**RESPONSE, "id": "mine"}]

    assert cancel_everywhere(scenario) > 5
