"""A legacy conversation: whose is a message that the server sends unasked, and which answers of the client reach the server."""
from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from dialogue import NO_ID, Json, legacy
from talks import ASK, CHANGED, LOG, heard, talk

from shadowproxy.config import Limits
from shadowproxy.errors import RequestCancelled
from shadowproxy.wire.jsonrpc import BadMessage

# --- whose is it?

@pytest.mark.parametrize("unasked", [ASK, LOG])
async def test_it_is_the_only_exchanges_even_if_somebody_listens(unasked: Json) -> None:
    async with talk() as t:
        listener = await t.listen()
        wire = await t.call("a")
        await t.pipe.say(unasked, {"id": wire, "result": {}})
        assert heard(t, "a") == [unasked]
        assert listener.heard == []


@pytest.mark.parametrize("unasked", [ASK, LOG])
async def test_of_several_exchanges_nobody_knows_so_it_is_the_listeners(unasked: Json) -> None:
    async with talk() as t:
        listener = await t.listen()
        wires = [await t.call("a"), await t.call("b")]
        await t.pipe.say(unasked, *[{"id": wire, "result": {}} for wire in wires])
        assert listener.heard == [unasked]
        assert heard(t, "a") == heard(t, "b") == []


@pytest.mark.parametrize("unasked", [ASK, LOG])
async def test_if_nobody_listens_it_is_the_newest_exchanges(unasked: Json) -> None:
    async with talk() as t:
        wires = [await t.call("a"), await t.call("b"), await t.call("c")]
        await t.pipe.cancel("c")
        await t.pipe.say(unasked, *[{"id": wire, "result": {}} for wire in wires])
        assert (heard(t, "a"), heard(t, "b")) == ([], [unasked])


@pytest.mark.parametrize("unasked", [ASK, LOG, CHANGED])
async def test_with_no_exchange_it_waits_for_a_listener(unasked: Json) -> None:
    async with talk() as t:
        await t.pipe.say(unasked, unasked)
        listener = await t.listen()
        assert listener.heard == [unasked] * 2


async def test_a_change_is_never_an_exchanges() -> None:
    async with talk() as t:
        wire = await t.call("a")
        await t.pipe.say(CHANGED, {"id": wire, "result": {}})
        assert heard(t, "a") == []
        assert (await t.listen()).heard == [CHANGED]


# --- listeners

async def test_a_newer_listener_takes_over_and_the_older_ends() -> None:
    async with talk() as t:
        old = await t.listen()
        await t.pipe.say(CHANGED)
        new = await t.listen()
        assert old.ended
        await t.pipe.say(CHANGED)
        assert (len(old.heard), len(new.heard)) == (1, 1), "each message on one stream"
        await old.leave()
        await t.pipe.say(CHANGED)
        assert len(new.heard) == 2


async def test_what_comes_after_a_listener_has_left_waits_for_the_next() -> None:
    async with talk() as t:
        listener = await t.listen()
        await listener.leave()
        await t.pipe.say(CHANGED, LOG)
        assert (await t.listen()).heard == [CHANGED, LOG]
        assert listener.heard == []


async def test_while_nobody_listens_the_oldest_makes_room() -> None:
    async with talk(Limits(events=3)) as t:
        notes: list[Json] = [{"method": "notifications/x", "params": {"n": n}} for n in range(10)]
        await t.pipe.say(*notes)
        assert (await t.listen()).heard == notes[-3:]


async def test_bytes_count_too_but_for_a_single_message() -> None:
    async with talk(Limits(buffer=1000)) as t:
        big: Json = {"method": "notifications/x", "params": {"x": "x" * 5000}}
        await t.pipe.say(CHANGED, CHANGED, big)
        assert (await t.listen()).heard == [big]


async def test_its_end_ends_the_stream_and_the_child() -> None:
    async with talk() as t:
        listener = await t.listen()
        t.conversation.close()
        await trio.testing.wait_all_tasks_blocked()
        assert listener.ended
        assert not t.pipe.peer.alive


# --- from the client

async def test_the_clients_answer_reaches_the_server_once() -> None:
    async with talk() as t:
        await t.call("a")
        await t.pipe.say(ASK)
        assert await t.notify(id="s1", result={"x": 1.5}) == [{"jsonrpc": "2.0", "id": "s1", "result": {"x": 1.5}}]
        assert await t.notify(id="s1", result={}) == []


@pytest.mark.parametrize("id", ["s1", 1, "1"])
async def test_answers_that_nobody_asked_for_are_dropped(id: Any) -> None:
    async with talk() as t:
        await t.pipe.say({"id": 2, "method": "roots/list"})
        assert await t.notify(id=id, result={}) == []
        assert await t.notify(id=2, error={"code": 1, "message": "no"}) == [{"jsonrpc": "2.0", "id": 2, "error": {"code": 1, "message": "no"}}]


@pytest.mark.parametrize("id", [None, [1], 1.5])
async def test_an_answer_with_an_impossible_id_is_refused(id: Any) -> None:
    async with talk() as t:
        with pytest.raises(BadMessage, match="integer or a string"):
            await t.notify(id=id, result={})


async def test_an_answer_without_an_id_is_dropped() -> None:
    async with talk() as t:
        assert await t.notify(result={}) == []


async def test_an_id_is_the_same_however_it_is_spelled() -> None:
    async with talk() as t:
        t.pipe.peer.deliver(b'{"jsonrpc":"2.0","id":"\\u0061","method":"roots/list"}')
        assert len(await t.notify(id="a", result={})) == 1


async def test_notifications_pass() -> None:
    async with talk() as t:
        assert await t.notify(method="notifications/initialized") == [{"jsonrpc": "2.0", "method": "notifications/initialized"}]
        assert await t.notify(method="notifications/roots/list_changed", params={"a": 1}) == [
            {"jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": {"a": 1}}]


async def test_a_cancellation_by_the_client_goes_by_the_wire_id_and_ends_the_exchange() -> None:
    async with talk() as t:
        await t.call("other", "7")
        wire = await t.call("a", 7)
        told = await t.notify(method="notifications/cancelled", params={"requestId": 7, "reason": "bored"})
        assert told == [{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": wire, "reason": "bored"}}]
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(t.pipe.outcomes["a"], RequestCancelled)
        assert "other" not in t.pipe.outcomes
        assert await t.pipe.sent() == []


@pytest.mark.parametrize("params", [{"requestId": 8}, {"requestId": "7"}, {}, {"requestId": [7]}, {"requestId": None}])
async def test_a_cancellation_of_nothing_is_dropped(params: Json) -> None:
    async with talk() as t:
        await t.call("a", 7)
        assert await t.notify(method="notifications/cancelled", params=params) == []
        assert t.pipe.outcomes == {}


async def test_nothing_crosses_from_one_conversation_to_another() -> None:
    async with talk() as one, talk() as other:
        mine, theirs = await one.call("a"), await other.call("a")
        listener = await other.listen()
        await one.pipe.say(ASK, LOG, CHANGED, {"id": mine, "result": {}})
        assert listener.heard == []
        assert json.dumps(heard(one, "a")) == json.dumps([ASK, LOG])
        assert await other.notify(id="s1", result={}) == [], "the answer to a request that this child has not sent"
        await other.pipe.say({"id": theirs, "result": {}})
        assert heard(other, "a") == []


async def test_a_notification_has_no_answer_to_wait_for() -> None:
    async with talk() as t:
        with legacy("notifications/x", id=NO_ID, session=t.session) as exchange:
            await t.conversation.notify(exchange)
        assert not t.pipe.peer.waiting
