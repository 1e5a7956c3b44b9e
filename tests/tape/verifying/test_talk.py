"""A talk: what is said in it reaches the upstream, what is not taken has its reason, and when it is over nothing is left."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from dialogue import message
from fakes import FakeUpstream, Feed, feeding, note
from trio.testing import MockClock

from shadowproxy.errors import UpstreamExited
from shadowproxy.exchange import Exchange, Replies, Session
from shadowproxy.tape.matching.jsondiff import VOLATILE
from shadowproxy.tape.verifying.crossing import Arrived, Crossing, Expected
from shadowproxy.tape.verifying.talk import FAREWELL, Talk
from shadowproxy.wire.jsonrpc import Message


def talk(upstream: FakeUpstream, session: Session | None = None, paired: Callable[[Expected | None, Arrived | None], None] = lambda expected, arrived: None) -> Talk:
    return Talk(upstream, session, Crossing(VOLATILE, paired))


async def dead(exchange: Exchange) -> None:
    raise UpstreamExited("it is dead")


async def deaf(exchange: Exchange) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(("on_notify", "reason"), [(None, ""), (dead, "it is dead"), (deaf, "not taken within 7 s")])
async def test_what_is_said_is_taken_or_has_its_reason(on_notify: Callable[[Exchange], Awaitable[None]] | None, reason: str, autojump_clock: MockClock) -> None:
    upstream = FakeUpstream()
    upstream.on_notify = on_notify or upstream.on_notify
    assert await talk(upstream, Session(b"a")).say(note("notifications/x"), 7.0) == reason


def test_its_era_is_that_of_its_session() -> None:
    session = Session(b"a")
    exchanges = [talk(FakeUpstream(), one).exchange(message(id=1, method="ping")) for one in (session, None)]
    assert [(exchange.era, exchange.session) for exchange in exchanges] == [("legacy", session), ("modern", None)]


async def test_it_listens_once_and_until_it_is_over(autojump_clock: MockClock) -> None:
    upstream, heard, listens = FakeUpstream(), list[Message](), 0
    feed = feeding(Feed(note("notifications/x")))

    async def listen(exchange: Exchange) -> Replies:
        nonlocal listens
        listens += 1
        return await feed(exchange)

    upstream.on_listen = listen
    session = Session(b"a")
    one = talk(upstream, session)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            opened = trio.Event()
            nursery.start_soon(one.listen, heard.append, opened)
            await opened.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert ([found.method for found in heard], listens) == (["notifications/x"], 1)
        await one.end()
    assert session.ended


async def test_who_cannot_be_listened_to_lets_the_client_go_on(autojump_clock: MockClock) -> None:
    upstream, opened = FakeUpstream(), trio.Event()

    async def refuse(exchange: Exchange) -> Replies:
        raise UpstreamExited("it is dead")

    upstream.on_listen = refuse
    await talk(upstream, Session(b"a")).listen(lambda found: None, opened)
    assert opened.is_set()


@pytest.mark.parametrize(("on_end", "seconds"), [(dead, 0.0), (deaf, FAREWELL)])
async def test_it_ends_whatever_the_server_does(on_end: Callable[[Exchange], Awaitable[None]], seconds: float, autojump_clock: MockClock) -> None:
    lost: list[int | None] = []
    upstream, session = FakeUpstream(), Session(b"a")
    upstream.on_end = on_end
    one = talk(upstream, session, lambda expected, arrived: lost.append(None if expected is None else expected.n))
    one.crossing.expect(Expected(note("notifications/x"), 5, None))
    began = trio.current_time()
    await one.end()
    assert (trio.current_time() - began, lost, session.ended) == (seconds, [5], True)
