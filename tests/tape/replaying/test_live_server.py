"""What is not on the tape is asked of the live server, greeted when that is first needed; what is on it, never."""
from __future__ import annotations

from pathlib import Path

import pytest
import trio
from dialogue import plain
from fakes import FakeUpstream, Feed, answer_to, echo, failing, feeding, note
from replays import Caller, handshake, replaying, tool

from shadowproxy.errors import SessionMissing, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Reply
from shadowproxy.wire.jsonrpc import error_reply

A = {"name": "a"}
NEW = {"name": "new"}
TAPE = [*handshake(), *tool(4, A, {"of": "tape"})]


async def test_only_what_is_missing_is_asked_after_a_greeting(tmp_path: Path) -> None:
    live = FakeUpstream()
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape:
        client = Caller(tape)
        await client.greet()
        assert await client.result("tools/call", A) == {"of": "tape"}
        assert live.methods == []
        for id in (7, 8):
            [answer] = await client.call("tools/call", NEW, id)
            assert answer == {"jsonrpc": "2.0", "id": id, "result": {"of": "tools/call"}}
        assert live.methods == ["initialize", "tools/call", "tools/call"]
        assert plain(live.calls[0].request)["params"]["clientInfo"]["name"] == "live", "in the client's own words"
        assert [one.request.method for one in live.notes] == ["notifications/initialized"]
        assert len({one.session for one in live.calls}) == 1
        assert live.calls[0].session is not client.session
        assert not live.open
        session = client.session
        assert session is not None
        with client.exchange("x") as exchange:
            await tape.end(exchange)
        assert len(live.ends) == 1
        assert live.calls[0].session is not None
        assert live.calls[0].session.ended


async def test_its_answer_travels_back_as_it_came(tmp_path: Path) -> None:
    async def teapot(exchange: Exchange) -> Reply:
        await trio.lowlevel.checkpoint()
        exchange.status, exchange.reply_headers, exchange.as_event = 418, ((b"x", b"y"),), True
        return answer_to(exchange)

    async with replaying(tmp_path, TAPE, live=FakeUpstream(teapot), on_miss="forward") as tape:
        client = Caller(tape)
        await client.greet()
        with client.exchange("tools/call", NEW) as exchange:
            await tape.call(exchange)
            assert (exchange.status, exchange.reply_headers, exchange.as_event) == (418, ((b"x", b"y"),), True)


async def test_what_the_client_says_goes_where_it_belongs(tmp_path: Path) -> None:
    """Nothing before the live server was asked anything; then notifications, and answers to questions that are not the tape's."""
    live = FakeUpstream()
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape:
        client = Caller(tape)
        await client.greet()
        await client.tell("notifications/roots/list_changed")
        assert live.notes == []
        await client.call("tools/call", NEW)
        await client.tell("notifications/roots/list_changed")
        await client.answer("theirs", {})
        assert [one.request.method for one in live.notes] == ["notifications/initialized", "notifications/roots/list_changed", None]


async def test_a_refused_greeting_is_told_and_tried_again(tmp_path: Path) -> None:
    async def refuse(exchange: Exchange) -> Reply:
        await trio.lowlevel.checkpoint()
        return error_reply(exchange.id, -32602, "no")

    live = FakeUpstream(refuse)
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape:
        client = Caller(tape)
        await client.greet()
        for on_call, error in ((refuse, UpstreamBroken), (failing(UpstreamUnreachable("down")), UpstreamUnreachable)):
            live.on_call = on_call
            with pytest.raises(error):
                await client.call("tools/call", NEW)
        live.on_call = echo
        assert await client.result("tools/call", NEW) == {"of": "tools/call"}


async def test_a_greeting_that_comes_as_a_stream(tmp_path: Path) -> None:
    live = FakeUpstream()

    async def stream(exchange: Exchange) -> Reply:
        if exchange.request.method != "initialize":
            return await echo(exchange)
        return await feeding(Feed(note(), answer_to(exchange), ended=True))(exchange)

    live.on_call = stream
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape:
        client = Caller(tape)
        await client.greet()
        assert await client.result("tools/call", NEW) == {"of": "tools/call"}
        live.on_call = feeding(Feed(note(), ended=True))
        other = Caller(tape)
        await other.greet()
        with pytest.raises(UpstreamBroken, match="did not answer initialize"):
            await other.call("tools/call", NEW)


async def test_who_has_not_begun_is_not_asked_for(tmp_path: Path) -> None:
    async with replaying(tmp_path, TAPE, live=FakeUpstream(), on_miss="forward") as tape:
        with pytest.raises(SessionMissing, match="send initialize first"):
            await Caller(tape).call("tools/call", NEW)
