"""Asking without a client: replies and errors as plain JSON, one session, and what becomes of the server's own requests."""
from __future__ import annotations

import trio
import trio.testing
from dialogue import META, message
from fakes import FakeUpstream, Feed, answer_to, failing, feeding, note

from shadowproxy.admission import Admission
from shadowproxy.errors import UpstreamBroken
from shadowproxy.exchange import Exchange
from shadowproxy.gateway import Gateway
from shadowproxy.testing.asking import Asking
from shadowproxy.wire.jsonrpc import Message


def asking(upstream: FakeUpstream) -> Asking:
    return Asking(Gateway(upstream, Admission(10, 10, 1)))


async def test_a_reply_is_plain_json_and_so_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    client = asking(FakeUpstream())
    assert await client.request("tools/list", {"cursor": "x"}) == {"jsonrpc": "2.0", "id": 1, "result": {"of": "tools/list"}}
    assert (await client.request("ping"))["id"] == 2
    reply = await asking(FakeUpstream(failing(UpstreamBroken("it broke")))).request("ping")
    assert (reply["error"]["message"], reply["error"]["data"]["name"]) == ("it broke", "upstream_broken")


async def test_one_session_until_it_is_greeted_anew(autojump_clock: trio.testing.MockClock) -> None:
    async def welcome(exchange: Exchange) -> Message:
        await trio.lowlevel.checkpoint()
        return answer_to(exchange, protocolVersion="2025-11-25")

    upstream = FakeUpstream(welcome)
    client = asking(upstream)
    for method in ("initialize", "tools/list", "initialize"):
        await client.request(method)
    await client.request("tools/list", {"_meta": META})
    first, same, second, modern = [exchange.session for exchange in upstream.calls]
    assert first is same
    assert first is not second
    assert modern is None
    assert first is not None
    assert second is not None
    assert (first.ended, first.version, second.ended) == (True, "2025-11-25", False)
    client.end()
    assert second.ended


async def test_what_the_server_asks_is_refused_and_the_rest_heard(autojump_clock: trio.testing.MockClock) -> None:
    feed = Feed(note(), message(id="q", method="roots/list", params={}))
    upstream = FakeUpstream(feeding(feed))

    async def go_on(exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()
        feed.put(answer_to(upstream.calls[0]))

    upstream.on_notify = go_on
    assert (await asking(upstream).request("tools/call"))["result"] == {"of": "tools/call"}
    (answer,) = upstream.notes
    assert bytes(answer.request.id or b"") == b'"q"'
    assert "error" in answer.request.members


async def test_a_stream_without_a_response_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    reply = await asking(FakeUpstream(feeding(Feed(note(), ended=True)))).request("tools/call")
    assert reply["error"]["message"] == "the stream ended without a response"


async def test_a_notification_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    upstream = FakeUpstream()
    await asking(upstream).notify("notifications/initialized")
    assert [exchange.request.method for exchange in upstream.notes] == ["notifications/initialized"]
