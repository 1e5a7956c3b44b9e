"""Batches of servers of 2025-03-26: unpacked wherever a message may come, in sessions of that revision; a fault anywhere else."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from dialogue import LEGACY, POST, Json, all_of, legacy, listening, modern
from http_upstreams import ask, upstream_for
from peer_calls import calls, progress, tool
from peers import Asked, Handler, Wire, chunk

from shadowproxy.errors import UpstreamBroken
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.batches import may_batch
from shadowproxy.wire.jsonrpc import MAX_BATCH, Message

BATCHING = "2025-03-26"
NOTE: Json = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"n": 1}}
QUESTION: Json = {"jsonrpc": "2.0", "id": "s1", "method": "roots/list"}


def answer(id: Any = 1, **result: Any) -> Json:
    return {"jsonrpc": "2.0", "id": id, "result": result}


@pytest.mark.parametrize(("version", "may"), [(None, True), (BATCHING, True), ("2024-11-05", False), ("2025-06-18", False), (LEGACY, False)])
def test_one_revision_has_them(version: str | None, may: bool) -> None:
    assert may_batch(version) == may


# --- stdio

async def test_a_line_may_hold_many_messages_and_the_answer_ends_its_exchange() -> None:
    async with calls("legacy") as pipe:
        unasked: list[str | None] = []
        pipe.peer.unasked = lambda message, size: unasked.append(message.method)
        await pipe.call("hello", legacy("initialize", {}, 0))
        await pipe.say(answer(1, protocolVersion=BATCHING))
        wire = (await pipe.call("a", legacy("tools/call", {"_meta": {"progressToken": "t"}}, "x")))["id"]
        pipe.peer.deliver(json.dumps([answer(wire), {"jsonrpc": "2.0", **progress(wire, progress=1)}, QUESTION, NOTE]).encode())
        await trio.testing.wait_all_tasks_blocked()
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", **progress("t", progress=1)}, answer("x")]
        assert unasked == ["roots/list", "notifications/message"]
        assert pipe.peer.dropped == 0


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", LEGACY])
async def test_a_line_of_another_revision_is_one_message(version: str) -> None:
    async with calls("legacy") as pipe:
        await pipe.call("hello", legacy("initialize", {}, 0))
        await pipe.say(answer(1, protocolVersion=version))
        await pipe.call("a", legacy("tools/call", {}))
        pipe.peer.deliver(json.dumps([answer(2)]).encode())
        await trio.testing.wait_all_tasks_blocked()
        assert (list(pipe.outcomes), pipe.peer.dropped) == (["hello"], 1)


async def test_a_handshake_that_is_refused_changes_no_revision() -> None:
    async with calls("legacy") as pipe:
        await pipe.call("hello", legacy("initialize", {}, 0))
        await pipe.say(answer(1, protocolVersion=LEGACY))
        await pipe.call("again", legacy("initialize", {}, 0))
        await pipe.say({"id": 2, "error": {"code": -32600, "message": "once is enough"}})
        assert pipe.peer.version == LEGACY


async def test_a_modern_line_is_one_message() -> None:
    async with calls() as pipe:
        await pipe.call("a", tool())
        pipe.peer.deliver(json.dumps([answer(1)]).encode())
        assert pipe.peer.dropped == 1


@pytest.mark.parametrize("batch", [[], [5], [[NOTE]], [NOTE, {}], [NOTE] * (MAX_BATCH + 1)])
async def test_what_is_no_batch_either_is_dropped_whole(batch: list[Any]) -> None:
    async with calls("legacy") as pipe:
        pipe.peer.deliver(json.dumps(batch).encode())
        assert pipe.peer.dropped == 1


# --- HTTP

def session_of(version: str | None) -> Session:
    session = Session(b"s")
    session.version = version
    return session


def asking(version: str | None, id: Any = 1) -> Exchange:
    return legacy("tools/call", {}, id, session_of(version))


def sending(batch: Any) -> Handler:
    async def server(asked: Asked, wire: Wire) -> None:
        await wire.answer(200, json.dumps(batch).encode(), content_type="application/json")

    return server


def streaming(*events: tuple[str, Any]) -> Handler:
    async def server(asked: Asked, wire: Wire) -> None:
        await wire.begin_events()
        for id, batch in events:
            await wire.send(chunk(f"id: {id}\ndata: {json.dumps(batch)}\n\n".encode()))
        await wire.end_events()

    return server


async def test_a_json_body_with_nothing_but_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(sending([answer(1, a=1)])) as (upstream, _):
        assert await ask(upstream, asking(BATCHING)) == [answer(1, a=1)]


async def test_a_json_body_with_more_becomes_a_stream_with_the_answer_last(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(sending([answer(1, a=1), QUESTION, NOTE])) as (upstream, _):
        assert await ask(upstream, asking(BATCHING)) == [QUESTION, NOTE, answer(1, a=1)]


@pytest.mark.parametrize(("batch", "why"), [([NOTE], "no response"), ([answer(1), answer(2)], "another id"), ([], "empty batch"), ([answer(1)] * (MAX_BATCH + 1), "more than")])
async def test_a_json_body_that_answers_something_else(autojump_clock: trio.testing.MockClock, batch: Any, why: str) -> None:
    async with upstream_for(sending(batch)) as (upstream, _):
        with pytest.raises(UpstreamBroken, match=why):
            await ask(upstream, asking(BATCHING))


async def test_an_event_may_hold_many_messages(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(streaming(("e1", [NOTE, QUESTION]), ("e2", [answer(1), NOTE]))) as (upstream, _):
        with asking(BATCHING) as exchange:
            reply = await upstream.call(exchange)
            assert not isinstance(reply, Message)
            items = [item async for item in reply]
        assert [(item.event_id, item.method) for item in items if isinstance(item, Message)] == [
            (None, "notifications/message"), (b"e1", "roots/list"), (None, "notifications/message"), (b"e2", None)]


async def test_events_of_a_standing_stream_too(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(streaming(("e1", [NOTE, QUESTION]))) as (upstream, _):
        with listening(session_of(BATCHING)) as exchange:
            assert await all_of(await upstream.listen(exchange)) == [NOTE, QUESTION]


@pytest.mark.parametrize("server", [sending([answer(1)]), streaming(("e", [answer(1)]))])
@pytest.mark.parametrize("exchange", [lambda: asking("2025-06-18"), lambda: asking(LEGACY), lambda: modern("tools/call", {}),
                                      lambda: legacy("tools/call", {}, headers=(*POST, (b"mcp-protocol-version", b"2025-06-18")))])  # fmt: skip
async def test_in_other_revisions_an_array_is_no_message(autojump_clock: trio.testing.MockClock, server: Handler, exchange: Callable[[], Exchange]) -> None:
    async with upstream_for(server) as (upstream, _):
        with pytest.raises(UpstreamBroken, match="no JSON-RPC message"):
            await ask(upstream, exchange())


async def test_who_names_no_revision_is_taken_for_this_one(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(sending([answer(1)])) as (upstream, _):
        assert await ask(upstream, legacy("tools/call", {})) == [answer(1)]


async def test_the_revision_is_learnt_from_a_handshake_that_comes_as_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    async def server(asked: Asked, wire: Wire) -> None:
        if asked.message["method"] == "initialize":
            return await streaming(("e", answer(0, protocolVersion=LEGACY)))(asked, wire)
        await sending([answer(1)])(asked, wire)

    async with upstream_for(server) as (upstream, _):
        session = Session(b"s")
        await ask(upstream, legacy("initialize", {}, 0, session))
        assert session.version == LEGACY
        with pytest.raises(UpstreamBroken, match="no JSON-RPC message"):
            await ask(upstream, legacy("tools/call", {}, 1, session))
