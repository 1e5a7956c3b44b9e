"""Requests of a legacy server: each gets one answer, whatever becomes of the client that was to give it."""
from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from dialogue import Json
from talks import ASK, CHANGED, LOG, Talk, heard, talk

from shadowproxy.config import Limits
from shadowproxy.upstream.questions import ASKED, LEFT, SLOW, TOO_MANY, UNREAD


def refused(id: Any, why: str) -> Json:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": why}}


async def answers_reach(t: Talk, id: Any) -> bool:
    return await t.notify(id=id, result={}) == [{"jsonrpc": "2.0", "id": id, "result": {}}]


# --- nobody listens

async def test_what_makes_room_in_a_full_mailbox_is_refused_at_once() -> None:
    async with talk(Limits(events=2)) as t:
        await t.pipe.say(ASK, CHANGED)
        assert await t.pipe.sent() == []
        await t.pipe.say(CHANGED)
        assert await t.pipe.sent() == [refused("s1", UNREAD)]
        await t.pipe.say(CHANGED, CHANGED)
        assert await t.pipe.sent() == [], "once, and notifications have no answer"
        assert not await answers_reach(t, "s1")


async def test_bytes_make_room_too() -> None:
    async with talk(Limits(buffer=1000)) as t:
        await t.pipe.say(ASK, {"method": "notifications/x", "params": {"x": "x" * 5000}})
        assert await t.pipe.sent() == [refused("s1", UNREAD)]


async def test_what_a_listener_left_unread_is_the_next_ones() -> None:
    async with talk() as t:
        listener = await t.listen()
        listener.scope.cancel()
        t.conversation.route(t.question("s1"), 10)  # before it has run, so that it can be read no more
        await trio.testing.wait_all_tasks_blocked()
        assert listener.heard == []
        assert [one["id"] for one in (await t.listen()).heard] == ["s1"]
        assert await answers_reach(t, "s1")


# --- an exchange was to carry it

async def test_who_reads_too_slowly_costs_the_server_no_answer() -> None:
    async with talk(Limits(events=2)) as t:
        wire = await t.call("a")
        for one in (LOG, LOG, ASK, {**ASK, "id": 2}):  # in one go: the client has no time to read
            t.deliver(one)
        assert await t.pipe.sent() == [refused("s1", SLOW), refused(2, SLOW)]
        await trio.testing.wait_all_tasks_blocked()
        assert [line["params"]["requestId"] for line in await t.pipe.sent()] == [wire]


async def test_what_was_still_unread_when_its_exchange_failed_is_refused() -> None:
    async with talk(Limits(events=2)) as t:
        await t.call("a")
        for one in (ASK, LOG, LOG):
            t.deliver(one)
        await trio.testing.wait_all_tasks_blocked()
        assert refused("s1", LEFT) in await t.pipe.sent()
        assert not await answers_reach(t, "s1")


async def test_an_exchange_that_is_left_takes_its_questions_along_and_no_others() -> None:
    async with talk() as t:
        await t.pipe.say({**ASK, "id": "for the listener"})
        await t.call("a")
        await t.pipe.say(ASK, {**ASK, "id": 2})
        await t.call("b")
        await t.pipe.say({**ASK, "id": 3})
        left = await t.pipe.cancel("a")
        assert left[1:] == [refused("s1", LEFT), refused(2, LEFT)]
        assert await answers_reach(t, 3)
        assert await answers_reach(t, "for the listener")


async def test_a_client_that_cancels_answers_no_more() -> None:
    async with talk() as t:
        await t.call("a", 7)
        await t.pipe.say(ASK)
        await t.notify(method="notifications/cancelled", params={"requestId": 7})
        await trio.testing.wait_all_tasks_blocked()
        assert await t.pipe.sent() == [refused("s1", LEFT)]


async def test_a_whole_answer_leaves_the_question_open() -> None:
    """Nobody knows to which exchange it belonged: a server may ask for the roots while it lists its tools."""
    async with talk() as t:
        wire = await t.call("a")
        await t.pipe.say(ASK, {"id": wire, "result": {}})
        assert heard(t, "a") == [ASK]
        assert await t.pipe.sent() == []
        assert await answers_reach(t, "s1")


async def test_a_response_that_is_never_taken_is_no_whole_answer() -> None:
    async with talk() as t:
        wire = await t.call("a")
        t.pipe.scopes["a"].cancel()
        t.deliver(ASK)
        t.deliver({"id": wire, "result": {}})
        await trio.testing.wait_all_tasks_blocked()
        assert await t.pipe.sent() == [refused("s1", LEFT)]


# --- the server's own word, the bound, the end

@pytest.mark.parametrize("params", [{"requestId": "s1"}, {"requestId": "s1", "reason": "bored"}])
async def test_what_the_server_has_cancelled_needs_no_answer(params: Json) -> None:
    async with talk(Limits(events=2)) as t:
        await t.pipe.say(ASK, {"method": "notifications/cancelled", "params": params})
        assert len(t.conversation.questions) == 0
        await t.pipe.say(CHANGED, CHANGED, CHANGED)
        assert await t.pipe.sent() == []
        assert not await answers_reach(t, "s1")


@pytest.mark.parametrize("params", [{}, {"requestId": None}, {"requestId": "s2"}, {"requestId": ["s1"]}])
async def test_a_cancellation_of_something_else_changes_nothing(params: Json) -> None:
    async with talk() as t:
        await t.pipe.say(ASK, {"method": "notifications/cancelled", "params": params})
        assert await answers_reach(t, "s1")


async def test_past_the_bound_the_oldest_is_refused_and_the_newest_can_be_answered() -> None:
    async with talk(Limits(events=2 * ASKED)) as t:
        await t.pipe.say(*[{**ASK, "id": n} for n in range(ASKED + 2)])
        assert await t.pipe.sent() == [refused(0, TOO_MANY), refused(1, TOO_MANY)]
        assert len(t.conversation.questions) == ASKED
        assert not await answers_reach(t, 1)
        assert await answers_reach(t, 2)
        assert await answers_reach(t, ASKED + 1)


async def test_an_id_that_comes_again_counts_once() -> None:
    async with talk() as t:
        await t.pipe.say(ASK, ASK)
        assert len(t.conversation.questions) == 1
        assert await answers_reach(t, "s1")
        assert not await answers_reach(t, "s1")


async def test_with_the_session_all_of_them_end() -> None:
    async with talk() as t:
        await t.pipe.say(ASK)
        t.conversation.close()
        assert len(t.conversation.questions) == 0


async def test_a_large_request_on_its_way_costs_the_server_no_answer() -> None:
    async with talk(Limits(events=1)) as t:
        t.pipe.peer.outbox.put_nowait(b'{"x":"%b"}\n' % (b"x" * 1_000_000))
        await t.pipe.say(ASK, CHANGED)
        assert (await t.pipe.sent())[1:] == [refused("s1", UNREAD)]
