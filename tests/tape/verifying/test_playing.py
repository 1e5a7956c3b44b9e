"""Playing one request at an upstream: its answer, in time; and which live ids stand for which recorded ones."""
from __future__ import annotations

from typing import Any

import trio
from dialogue import legacy, message, plain
from fakes import FakeUpstream, Feed, answer_to, failing, feeding, hang, note
from tapes import request, response
from trio.testing import MockClock

from shadowproxy.exchange import Exchange, Reply
from shadowproxy.tape.verifying.playing import KEPT, Play, Table, play
from shadowproxy.wire.jsonrpc import BadMessage, Message


async def played(upstream: FakeUpstream, patience: float = 10.0, cancel_after: float | None = None) -> tuple[Play, list[str]]:
    exchange = legacy("tools/call", {"name": "x"})
    taken = Play(1, request(1, "tools/call"), exchange.request, "tools/call x", b"1")
    heard: list[str] = []
    done = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, taken, upstream, exchange, patience, lambda one: heard.append(one.method or ""), done.set)
        if cancel_after is not None:
            await trio.sleep(cancel_after)
            taken.cancel()
    assert done.is_set()
    assert upstream.open == set()
    return taken, heard


async def test_the_answer_and_what_came_before_it(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        return Feed(note("a"), note("b"), answer_to(exchange))

    taken, heard = await played(FakeUpstream(call))
    assert heard == ["a", "b"]
    assert taken.live is not None
    assert taken.live.shape == ("result",)


async def test_each_message_gives_more_time(autojump_clock: MockClock) -> None:
    feed = Feed(note("a"))

    async def talk() -> None:
        for _ in range(3):
            await trio.sleep(8)
            feed.put(note("b"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        taken, heard = await played(FakeUpstream(feeding(feed)))
    assert (taken.seconds, len(heard)) == (34, 4)
    assert taken.live is not None
    assert str(taken.live) == "timeout: no answer within 10 s"


async def test_what_its_client_gave_up_has_no_answer(autojump_clock: MockClock) -> None:
    taken, _ = await played(FakeUpstream(hang), cancel_after=3)
    assert taken.live is not None
    assert (taken.live.refusal, taken.seconds) == ("cancelled", 3)


async def test_a_bad_message_is_a_lost_answer(autojump_clock: MockClock) -> None:
    taken, _ = await played(FakeUpstream(failing(BadMessage("no object"))))
    assert taken.live is not None
    assert (taken.live.refusal, taken.live.lost) == ("bad_message", True)


def ask(id: Any = 7) -> Message:
    return message(id=id, method="ping")


def test_every_request_gets_an_id_of_its_own_and_the_newest_of_a_name_is_meant() -> None:
    table = Table()
    first, second = ask("x"), ask("x")
    assert [table.live_id("s1", first), table.live_id("s1", second), table.live_id("s2", ask("x"))] == [b"1", b"2", b"3"]
    assert plain(second)["id"] == 2
    named = ask("x").members["id"]
    assert (table.live("s1", named), table.live("s2", named), table.live(None, named), table.live("s1", None)) == (b"2", b"3", None, None)


def test_answers_go_out_under_the_live_id_whichever_is_known_first() -> None:
    table = Table()
    assert table.came(5, ask("live")) is None
    answer = table.answers(response(6, re=5, id="old", dir="c2s", result={"a": 1}))
    assert answer is not None
    assert plain(answer) == {"jsonrpc": "2.0", "id": "live", "result": {"a": 1}}
    assert table.answers(response(8, re=7, id="old", dir="c2s")) is None
    again = table.came(7, ask(3))
    assert again is not None
    assert plain(again)["id"] == 3
    assert table.came(7, ask(4)) is None, "each once"


def test_what_nobody_comes_for_is_forgotten_at_last() -> None:
    table = Table()
    for number in range(KEPT + 1):
        table.came(number, ask(number))
    assert table.answers(response(9000, re=0, dir="c2s")) is None
    assert table.answers(response(9001, re=1, dir="c2s")) is not None
