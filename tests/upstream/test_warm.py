"""Children kept warm that die: before they are lent, as they are lent, over their first question. Times are exact."""
from __future__ import annotations

import pytest
import trio
from dialogue import LEGACY, Json, legacy, modern, response_of
from memory_children import MemoryChild, Program
from stdio_upstreams import ask, begun, server, upstream_of
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.config import Timeouts
from shadowproxy.errors import Overloaded, UpstreamBroken, UpstreamExited
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.restarts import FIRST
from shadowproxy.upstream.stdio import StdioUpstream

SHARES = pytest.mark.parametrize("share", [None, True], ids=["one each", "one for many"])


def hello(session: Session) -> Exchange:
    return legacy("initialize", {"protocolVersion": LEGACY}, 0, session)


def modern_call() -> Exchange:
    return modern("tools/call", {"name": "echo"})


def all_but(*dead: int, at: str = "initialize", say: bool = False) -> Program:
    """The server, but these children end over the first message of that kind, with a word on stdout before or without."""

    async def program(child: MemoryChild, message: Json) -> None:
        if child.pid - 1000 in dead and message["method"] == at:
            if say:
                await child.say({"method": "notifications/message", "params": {"level": "info", "data": "here I am"}})
            return child.exit(9, "killed")
        await server(child, message)

    return program


# --- known before anything is written

@SHARES
async def test_one_whose_end_only_the_kernel_knows_yet_is_not_lent(autojump_clock: MockClock, share: bool | None) -> None:
    async with upstream_of(warm=2, share=share) as (upstream, nursery):
        nursery.children[0].killed = True
        session = await begun(upstream)
        assert (nursery.children[0].read, nursery.children[1].read[0]["method"]) == ([], "initialize")
        nursery.children[0].exit(9)
        await trio.sleep(FIRST + 0.01)
        assert upstream.statistics()["children_warm"] == 2, "it is replaced like any that died while it waited"
        session.end()


async def test_when_all_are_dead_a_new_one_is_spawned(autojump_clock: MockClock) -> None:
    async with upstream_of(warm=3) as (upstream, nursery):
        for child in nursery.children:
            child.killed = True
        session = await begun(upstream)
        assert [bool(child.read) for child in nursery.children[:4]] == [False] * 3 + [True]
        session.end()


async def test_an_idle_leased_one_whose_end_only_the_kernel_knows_yet_is_not_lent(autojump_clock: MockClock) -> None:
    async with upstream_of(warm=0, share=False) as (upstream, nursery):
        await ask(upstream, modern_call())
        nursery.children[0].killed = True
        assert (await ask(upstream, modern_call()))[0]["result"]["pid"] == 1001


# --- known only after the first word

@SHARES
async def test_one_that_ends_over_initialize_is_replaced_and_nobody_notices(autojump_clock: MockClock, share: bool | None) -> None:
    async with upstream_of(all_but(0), warm=1, share=share) as (upstream, nursery):
        session = await begun(upstream)
        assert (session.ended, upstream.statistics()["child_restarts"]) == (False, 1)
        reply = await ask(upstream, legacy("tools/call", {"name": "echo"}, 1, session))
        assert reply[0]["result"]["pid"] != 1000
        dead, living = nursery.children[0], [child for child in nursery.children if child.alive and child.read]
        assert [message["method"] for message in dead.read] == ["initialize"]
        living[0].exit(3)
        await wait_all_tasks_blocked()
        assert session.ended, "with the child that it has now"


@SHARES
async def test_many_at_once_find_their_children_dead(autojump_clock: MockClock, share: bool | None) -> None:
    async with upstream_of(all_but(0, 1, 2), warm=3, share=share) as (upstream, _):
        sessions: list[Session] = []

        async def begin() -> None:
            sessions.append(await begun(upstream))

        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(begin)
        assert upstream.statistics()["child_restarts"] == (1 if share else 3), "each is counted once"
        for session in sessions:
            assert "result" in (await ask(upstream, legacy("tools/call", {"name": "echo"}, 1, session)))[0]
            session.end()
        await trio.sleep(100)
        assert upstream.statistics()["children_warm"] == 3


@pytest.mark.parametrize("share", [None, False], ids=["one for all", "leased"])
async def test_one_that_ends_over_its_discovery_is_replaced(autojump_clock: MockClock, share: bool | None) -> None:
    async with upstream_of(all_but(0, at="server/discover"), warm=1, share=share) as (upstream, _):
        start = trio.current_time()
        assert (await ask(upstream, modern_call()))[0]["result"]["pid"] != 1000
        assert (trio.current_time(), upstream.statistics()["child_restarts"]) == (start, 1)


@SHARES
async def test_a_server_that_never_survives_initialize_costs_two_children_and_says_why(autojump_clock: MockClock, share: bool | None) -> None:
    async with upstream_of(all_but(*range(1000)), warm=1, share=share) as (upstream, nursery):
        for _ in range(3):
            spawned = upstream.statistics()["children_spawned"]
            session = Session(b"s")
            with pytest.raises(UpstreamExited, match="status 9; its last words on stderr: killed"):
                await ask(upstream, hello(session))
            assert session.ended
            assert sum(bool(child.read) for child in nursery.children[spawned - 1 :]) == 2
            await trio.sleep(100)


async def test_one_that_was_spawned_for_it_is_the_server_as_it_is(autojump_clock: MockClock) -> None:
    async with upstream_of(all_but(0), warm=0) as (upstream, nursery):
        session = Session(b"s")
        with pytest.raises(UpstreamExited):
            await ask(upstream, hello(session))
        assert (session.ended, len(nursery.children), upstream.statistics()["child_restarts"]) == (True, 1, 0)


async def test_one_that_has_said_something_first_is_not_replaced(autojump_clock: MockClock) -> None:
    async with upstream_of(all_but(0, say=True), warm=1) as (upstream, nursery):
        session = Session(b"s")
        with pytest.raises(UpstreamExited), hello(session) as exchange:
            await response_of(await upstream.call(exchange))
        assert session.ended
        assert sum(bool(child.read) for child in nursery.children) == 1


async def test_another_request_is_never_sent_twice(autojump_clock: MockClock) -> None:
    async with upstream_of(all_but(0, at="ping"), warm=2) as (upstream, nursery):
        session = Session(b"s")
        with pytest.raises(UpstreamExited):
            await ask(upstream, legacy("ping", {}, 1, session))
        assert (session.ended, sum(bool(child.read) for child in nursery.children)) == (True, 1)
        session = await begun(upstream)
        nursery.children[1].exit(9)
        with pytest.raises(UpstreamExited):
            await ask(upstream, legacy("ping", {}, 1, session))


async def test_the_deadline_around_it_holds_for_both(autojump_clock: MockClock) -> None:
    async with upstream_of(all_but(0), warm=1) as (upstream, nursery):
        nursery.delay = 50
        session = Session(b"s")
        with trio.move_on_after(20) as deadline:
            await ask(upstream, hello(session))
        assert (deadline.cancelled_caught, trio.current_time()) == (True, 20)
        session.end()
        await trio.sleep(100)
        assert [child for child in nursery.living if child.read] == [], "nothing was asked in the name of who has left"


async def test_past_the_limit_the_other_warm_ones_are_good_enough(autojump_clock: MockClock) -> None:
    async with upstream_of(all_but(0), warm=2, pool=2, timeouts=Timeouts(queue=7)) as (upstream, nursery):
        session = await begun(upstream)
        assert nursery.children[1].read
        await trio.sleep(FIRST + 0.01)
        other = await begun(upstream)
        with pytest.raises(Overloaded):
            await begun(upstream)
        session.end()
        other.end()


async def mute(child: MemoryChild, message: Json) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("exchange", [legacy("initialize", {"protocolVersion": LEGACY}, 0, Session(b"s")), modern_call()], ids=["legacy", "modern"])
async def test_the_end_of_the_proxy_is_no_death(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, exchange: Exchange) -> None:
    with caplog.at_level("INFO"):
        async with trio.open_nursery() as tasks:
            async def use(upstream: StdioUpstream) -> None:
                with pytest.raises((UpstreamExited, UpstreamBroken)):
                    await ask(upstream, exchange)

            async with upstream_of(mute, warm=1, share=False) as (upstream, _):
                tasks.start_soon(use, upstream)
                await trio.sleep(1)
    assert "another is asked" not in caplog.text


async def test_the_end_of_its_session_is_no_death(autojump_clock: MockClock) -> None:
    async with upstream_of(mute, warm=1) as (upstream, nursery):
        session = Session(b"s")
        async with trio.open_nursery() as tasks:
            async def begin() -> None:
                with pytest.raises(UpstreamExited, match="let go"):
                    await ask(upstream, hello(session))

            tasks.start_soon(begin)
            await trio.sleep(1)
            session.end()
        assert (upstream.statistics()["child_restarts"], sum(bool(child.read) for child in nursery.children)) == (0, 1)
