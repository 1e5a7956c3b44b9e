"""Correlation, without any pipe: lines in by `deliver`, lines out by the outbox. Every client calls its requests and tokens 1."""
from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from dialogue import NO_ID, Json, legacy, message, plain, response_of
from peer_calls import calls, progress, tool

from shadowproxy.config import Limits
from shadowproxy.errors import RequestCancelled, SlowConsumer, UpstreamExited
from shadowproxy.exchange import Exchange, Session
from shadowproxy.wire.jsonrpc import BadMessage, Message

EVIL_IDS: list[Any] = [1, 1, "1", "a", "\u00e9\"\\\n", 0, -1, 10**40, 2**53 + 1, "", "io.modelcontextprotocol/x", "x" * 1000]


# --- ids and tokens

async def test_every_client_gets_its_own_answer_under_its_own_id() -> None:
    async with calls() as pipe:
        wires = [(await pipe.call(str(n), tool(own)))["id"] for n, own in enumerate(EVIL_IDS)]
        assert len(set(wires)) == len(EVIL_IDS)
        assert all(isinstance(wire, int) for wire in wires)
        for n in reversed(range(len(EVIL_IDS))):
            await pipe.say({"id": wires[n], "result": {"n": n}})
        assert pipe.outcomes == {str(n): [{"jsonrpc": "2.0", "id": own, "result": {"n": n}}] for n, own in enumerate(EVIL_IDS)}


async def test_ids_come_back_exactly_as_they_were_spelled() -> None:
    async with calls() as pipe:
        for spelled in (b'"\\u0061"', b"12345678901234567890123", b'"/"', b'"\\/"'):
            request = Message.decode(b'{"jsonrpc":"2.0","method":"ping","id":%b}' % spelled)
            async with trio.open_nursery() as nursery:
                replies: list[bytes] = []

                async def call(request: Message = request, replies: list[bytes] = replies) -> None:
                    with Exchange(request, "modern") as exchange:
                        reply = await pipe.peer.call(exchange)
                        assert isinstance(reply, Message)
                        replies.append(bytes(reply.members["id"]))

                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                await pipe.say({"id": (await pipe.sent())[-1]["id"], "result": {}})
            assert replies == [spelled]


@pytest.mark.parametrize("tokens", [[1, 1, "1"], ["t", "t", "t"], [10**30, -1, 0]])
async def test_progress_reaches_its_asker_under_its_own_token(tokens: list[Any]) -> None:
    async with calls() as pipe:
        lines = [await pipe.call(str(n), tool(1, token)) for n, token in enumerate(tokens)]
        wires = [line["params"]["_meta"]["progressToken"] for line in lines]
        assert len(set(wires)) == len(tokens)
        for n, wire in reversed(list(enumerate(wires))):
            await pipe.say(progress(wire, progress=1.50, message=str(n)))
        for n, line in enumerate(lines):
            await pipe.say({"id": line["id"], "result": {"n": n}})
        for n, token in enumerate(tokens):
            assert pipe.outcomes[str(n)] == [{"jsonrpc": "2.0", **progress(token, progress=1.5, message=str(n))}, {"jsonrpc": "2.0", "id": 1, "result": {"n": n}}]


async def test_the_clients_own_message_stays_as_it_is() -> None:
    async with calls() as pipe:
        exchange = tool(1, "mine")
        before = plain(exchange.request)
        line = await pipe.call("a", exchange)
        assert plain(exchange.request) == before
        assert line == {**before, "id": line["id"], "params": {**before["params"], "_meta": {**before["params"]["_meta"], "progressToken": line["id"]}}}


async def test_a_token_in_escapes_is_a_token_too() -> None:
    async with calls() as pipe:
        data = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progress\\u0054oken":1}}}'
        line = await pipe.call("a", Exchange(Message.decode(data), "modern"))
        assert line["params"]["_meta"] == {"progressToken": line["id"]}


async def test_progress_for_who_asked_for_none_is_dropped() -> None:
    async with calls() as pipe:
        line = await pipe.call("a", tool(1))
        await pipe.say(progress(line["id"]), progress(99), progress(str(line["id"])), progress(None), {"method": "notifications/progress"})
        await pipe.say({"id": line["id"], "result": {}}, progress(line["id"]))
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", "id": 1, "result": {}}]
        assert pipe.peer.dropped == 6


@pytest.mark.parametrize("evil", [99, "1", None, 1.0, True, [1], {"a": 1}, -1])
async def test_an_answer_to_nobody_is_dropped(evil: Any) -> None:
    async with calls() as pipe:
        line = await pipe.call("a", tool("mine"))
        assert line["id"] == 1
        await pipe.say({"id": evil, "result": {"evil": True}}, {"result": {}})
        assert pipe.outcomes == {}
        await pipe.say({"id": 1, "result": {"good": True}}, {"id": 1, "result": {"again": True}})
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", "id": "mine", "result": {"good": True}}]


@pytest.mark.parametrize("garbage", [b"", b"hello", b"{", b"[]", b"null", b"\xff", b'{"jsonrpc":"2.0"}', b"[" * 100_000, b'{"jsonrpc":"2.0","method":"notifications/progress","params":5}',
                                     b'{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":5,"io.modelcontextprotocol/subscriptionId":1}}'])  # fmt: skip
async def test_garbage_costs_nobody_anything(garbage: bytes) -> None:
    async with calls() as pipe:
        await pipe.call("a", tool(5))
        pipe.peer.deliver(garbage)
        assert pipe.peer.dropped == 1
        await pipe.say({"id": 1, "result": {}})
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", "id": 5, "result": {}}]


# --- leaving

async def test_who_leaves_has_the_server_told_by_the_wire_id_once() -> None:
    async with calls() as pipe:
        await pipe.call("a", tool("x"))
        wire = (await pipe.call("b", tool("x")))["id"]
        cancelled = await pipe.cancel("b")
        assert [line["params"]["requestId"] for line in cancelled] == [wire]
        assert cancelled[0]["method"] == "notifications/cancelled"
        assert "id" not in cancelled[0]
        await pipe.say({"id": wire, "result": {"late": True}})
        assert "a" not in pipe.outcomes
        assert await pipe.sent() == []


async def test_who_was_answered_has_nothing_to_cancel() -> None:
    async with calls() as pipe:
        wire = (await pipe.call("a", tool()))["id"]
        await pipe.say({"id": wire, "result": {}})
        assert await pipe.sent() == []


async def test_initialize_is_never_cancelled() -> None:
    async with calls("legacy") as pipe:
        await pipe.call("a", legacy("initialize", {}))
        assert await pipe.cancel("a") == []


async def test_what_could_not_be_sent_is_not_cancelled() -> None:
    async with calls() as pipe:
        await pipe.call("other", tool())
        request = message(id=1, method="x", params={"_meta": 5, "progressToken": 1})
        with pytest.raises(BadMessage, match="_meta must be an object"), Exchange(request, "modern") as exchange:
            await pipe.peer.call(exchange)
        assert await pipe.sent() == []


async def test_a_legacy_client_cancels_by_its_own_id_within_its_own_session() -> None:
    async with calls("legacy") as pipe:
        one, other = Session(b"1"), Session(b"2")
        first = (await pipe.call("one", legacy("tools/call", {}, 1, one)))["id"]
        second = (await pipe.call("other", legacy("tools/call", {}, 1, other)))["id"]
        note = message(method="notifications/cancelled", params={"requestId": 1, "reason": "bored", "x": 1.50})
        assert pipe.peer.cancel_by_client(note, Session(b"3")) is None
        assert pipe.peer.cancel_by_client(message(method="notifications/cancelled", params={"requestId": "1"}), one) is None
        assert pipe.peer.cancel_by_client(message(method="notifications/cancelled", params={}), one) is None
        sent = pipe.peer.cancel_by_client(note, other)
        assert sent is not None
        assert plain(sent)["params"] == {"requestId": second, "reason": "bored", "x": 1.5}
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(pipe.outcomes["other"], RequestCancelled)
        assert await pipe.sent() == [], "the client has told the server; once is enough"
        await pipe.say({"id": second, "result": {}}, {"id": first, "result": {}})
        assert pipe.outcomes["one"] == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


async def test_of_two_in_flight_under_one_id_the_newest_is_cancelled_and_then_the_other() -> None:
    async with calls("legacy") as pipe:
        session = Session(b"1")
        wires = [(await pipe.call(name, legacy("tools/call", {}, 7, session)))["id"] for name in "ab"]
        note = message(method="notifications/cancelled", params={"requestId": 7})
        told = [pipe.peer.cancel_by_client(note, session) for _ in range(3)]
        assert [one and plain(one)["params"]["requestId"] for one in told] == [wires[1], wires[0], None]
        await trio.testing.wait_all_tasks_blocked()


# --- a consumer that is slow

async def test_a_slow_consumer_ends_alone() -> None:
    async with calls(limits=Limits(events=3)) as pipe:
        await pipe.call("quick", tool(1, 1))
        wire = (await pipe.call("other", tool(1, 1)))["id"]
        exchange = tool(1, 1)
        async with trio.open_nursery() as nursery:
            replies: list[Any] = []

            async def begin() -> None:
                replies.append(await pipe.peer.call(exchange))

            nursery.start_soon(begin)
            await trio.testing.wait_all_tasks_blocked()
            slow = (await pipe.sent())[-1]["id"]
            for n in range(9):
                await pipe.say(progress(slow, progress=n), progress(wire, progress=n))
        got = []
        with pytest.raises(SlowConsumer):
            async for one in replies[0]:
                got.append(plain(one)["params"]["progress"])  # noqa: PERF401 -- what came before the failure counts
        assert got == [0, 1, 2]
        exchange.leave()
        assert [line["params"]["requestId"] for line in await pipe.sent()] == [slow], "the server need not go on"
        await pipe.say({"id": wire, "result": {}})
        other = pipe.outcomes["other"]
        assert isinstance(other, list)
        assert len(other) == 10


# --- the end

async def test_everybody_who_waits_is_told_why_and_nobody_can_begin_anew() -> None:
    async with calls() as pipe:
        for name in "abc":
            await pipe.call(name, tool(1, 1))
        await pipe.say(progress(2, progress=1))
        pipe.peer.fail(UpstreamExited("first", {"exit_status": 3}))
        pipe.peer.fail(UpstreamExited("second"))
        await trio.testing.wait_all_tasks_blocked()
        assert [str(pipe.outcomes[name]) for name in "abc"] == ["first"] * 3
        with pytest.raises(UpstreamExited, match="first"), tool() as exchange:
            await pipe.peer.call(exchange)
        with pytest.raises(UpstreamExited, match="first"):
            await pipe.peer.send(message(method="notifications/x"))
        assert await pipe.sent() == [], "nobody is left to be told of cancellations"
        assert not pipe.peer.alive
        assert not pipe.peer.usable()


async def test_usable_means_alive_and_nobody_waiting() -> None:
    async with calls() as pipe:
        assert pipe.peer.usable()
        await pipe.call("a", tool())
        assert not pipe.peer.usable()
        await pipe.cancel("a")
        assert pipe.peer.usable()
        pipe.peer.abort()
        assert not pipe.peer.usable()


# --- the proxy's own questions

async def test_ask_gives_the_response_and_drops_what_comes_before() -> None:
    async with calls() as pipe:
        async with trio.open_nursery() as nursery:
            got: list[Json] = []

            async def ask() -> None:
                got.append(plain(await pipe.peer.ask(message(id=0, method="x", params={"_meta": {"progressToken": 5}}))))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await pipe.say(progress(1), progress(1), {"id": 1, "result": {"a": 1}})
        assert got == [{"jsonrpc": "2.0", "id": 0, "result": {"a": 1}}]


# --- legacy: what nobody asked for is the conversation's affair

LOG: Json = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}


async def test_legacy_requests_and_notifications_of_the_server_go_to_unasked() -> None:
    async with calls("legacy") as pipe:
        unasked: list[Json] = []
        pipe.peer.unasked = lambda message, size: unasked.append(plain(message))
        wire = (await pipe.call("a", legacy("tools/call", {"_meta": {"progressToken": "t"}}, "x")))["id"]
        asked: list[Json] = [{"id": wire, "method": "roots/list"}, LOG, {"method": "notifications/tools/list_changed"}, {"method": "notifications/cancelled"}]
        await pipe.say(*asked, progress(wire, progress=1), {"id": wire, "result": {}})
        assert unasked == [{"jsonrpc": "2.0", **one} for one in asked]
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", **progress("t", progress=1)}, {"jsonrpc": "2.0", "id": "x", "result": {}}]


async def test_a_response_alone_is_a_message_and_more_is_a_stream() -> None:
    async with calls() as pipe:
        for count in (0, 2):
            async with trio.open_nursery() as nursery:
                replies: list[Any] = []

                async def call(replies: list[Any] = replies) -> None:
                    with tool(1, 1) as exchange:
                        replies.append(await pipe.peer.call(exchange))
                        assert (await response_of(replies[0]))["result"] == {}

                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                wire = (await pipe.sent())[-1]["id"]
                await pipe.say(*[progress(wire)] * count, {"id": wire, "result": {}})
            assert isinstance(replies[0], Message) == (count == 0)


async def test_notifications_have_no_answer() -> None:
    async with calls("legacy") as pipe:
        with legacy("notifications/initialized", id=NO_ID) as exchange:
            await pipe.peer.send(exchange.request)
        assert await pipe.sent() == [{"jsonrpc": "2.0", "method": "notifications/initialized"}]
        assert not pipe.peer.waiting
