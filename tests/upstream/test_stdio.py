"""The stdio upstream with children made of memory: who gets which child, how many there are, what comes after a death. Times are exact."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from cancelling import Sword, cancel_everywhere, virtually
from dialogue import LEGACY, NO_ID, legacy, listening, modern, response_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_children import spawning
from stdio_upstreams import ask, begun, server, upstream_of

from shadowproxy.config import Config, Timeouts, Upstream
from shadowproxy.errors import Overloaded, ProxyError, SessionMissing, UpstreamExited, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Session
from shadowproxy.service import running
from shadowproxy.upstream.restarts import FIRST, LAST
from shadowproxy.upstream.stdio import REST, StdioUpstream
from shadowproxy.wire.jsonrpc import Message


def call(name: str, id: Any = 1, **arguments: Any) -> Exchange:
    return modern("tools/call", {"name": name, "arguments": arguments}, id)


def old_call(session: Session, name: str, id: Any = 1, **arguments: Any) -> Exchange:
    return legacy("tools/call", {"name": name, "arguments": arguments}, id, session)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


# --- legacy: a child of one's own

async def test_each_legacy_session_has_a_child_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=0) as (upstream, _):
        sessions = [await begun(upstream) for _ in range(3)]
        pids = [(await ask(upstream, old_call(session, "echo")))[0]["result"]["pid"] for session in sessions for _ in range(3)]
        assert pids == [1000] * 3 + [1001] * 3 + [1002] * 3
        assert upstream.statistics()["children_spawned"] == 3


async def test_a_session_that_ends_takes_its_child_along(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=0) as (upstream, nursery):
        one, other = await begun(upstream), await begun(upstream)
        with listening(one) as exchange:
            await upstream.end(exchange)
        assert one.ended
        await settle()
        assert [child.alive for child in nursery.children] == [False, True]
        assert "result" in (await ask(upstream, old_call(other, "echo")))[0]


async def test_a_child_that_dies_takes_its_session_along(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=0) as (upstream, _):
        one, other = await begun(upstream), await begun(upstream)
        with pytest.raises(UpstreamExited, match="status 9; its last words on stderr: what a day"):
            await ask(upstream, old_call(one, "die", status=9))
        await settle()
        assert (one.ended, other.ended) == (True, False)
        assert "result" in (await ask(upstream, old_call(other, "echo")))[0]


async def test_without_a_session_nothing_legacy_can_be_asked(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of() as (upstream, _):
        for session in (None, Session(b"fresh")):
            with pytest.raises(SessionMissing, match="initialize"), listening(session) as exchange:
                await upstream.listen(exchange)
            with pytest.raises(SessionMissing), legacy("notifications/x", id=NO_ID, session=session) as exchange:
                await upstream.notify(exchange)
            with pytest.raises(SessionMissing), listening(session) as exchange:
                await upstream.end(exchange)
        with pytest.raises(SessionMissing):
            await ask(upstream, legacy("tools/list"))


async def test_requests_that_come_at_once_begin_one_session(autojump_clock: trio.testing.MockClock) -> None:
    """A stdio client may send more before its handshake is answered: it is all for the same child."""
    async with upstream_of(warm=0) as (upstream, nursery):
        nursery.delay = 1
        session = Session(b"stdio")
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ask, upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, session))
            tasks.start_soon(ask, upstream, legacy("ping", {}, 1, session))
        spoken_to = [child for child in nursery.living if child.read]
        assert len(spoken_to) == 1
        assert sorted(message["method"] for message in spoken_to[0].read) == ["initialize", "ping"]
        session.end()
        await settle()
        assert not spoken_to[0].alive
        other = await begun(upstream)
        assert upstream.statistics()["children"] <= 2
        other.end()


# --- children kept warm

async def test_the_warm_are_there_before_they_are_needed(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=2) as (upstream, nursery):
        nursery.delay = 5
        await trio.sleep(100)
        assert upstream.statistics() == {"children": 2, "children_warm": 2, "child_restarts": 0, "children_spawned": 2}
        start = trio.current_time()
        session = await begun(upstream)
        assert trio.current_time() == start, "nobody waited"
        await trio.sleep(100)
        assert upstream.statistics()["children_warm"] == 2
        assert upstream.statistics()["children"] == 3
        session.end()


@pytest.mark.parametrize("warm", [0, 1, 3])
async def test_a_burst_leaves_no_more_warm_ones_than_are_wanted(autojump_clock: trio.testing.MockClock, warm: int) -> None:
    async with upstream_of(warm=warm) as (upstream, nursery):
        nursery.delay = 1
        await trio.sleep(10)
        async with trio.open_nursery() as tasks:
            for _ in range(10):
                tasks.start_soon(begun, upstream)
        await trio.sleep(100)
        assert upstream.statistics()["children_warm"] == warm
        assert len(nursery.living) == 10 + warm


async def test_one_that_died_while_it_waited_is_never_handed_out(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=3) as (upstream, nursery):
        await trio.sleep(1)
        nursery.children[0].exit(1)
        nursery.children[1].close_stdout()
        await settle()
        session = await begun(upstream)
        assert nursery.children[2].read[0]["method"] == "initialize"
        assert not nursery.children[0].read
        assert not nursery.children[1].read
        session.end()


async def test_one_that_died_while_it_waited_does_not_count_and_is_replaced_with_pauses(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=2) as (upstream, nursery):
        nursery.children[0].close_stdout()  # it is of no use any more, though it lives on for a while
        await settle()
        assert upstream.statistics()["children_warm"] == 1
        nursery.children[0].exit(1)
        await trio.sleep(FIRST + 0.01)
        assert (upstream.statistics()["children_warm"], len(nursery.living)) == (2, 2)
        nursery.on_spawn = lambda child: child.exit(1, "no licence")
        nursery.children[1].exit(1)
        await trio.sleep(600)
        assert 20 < len(nursery.children) < 20 + 600 / LAST, "neither given up nor a busy loop"
        nursery.on_spawn = None
        await trio.sleep(LAST)
        assert upstream.statistics()["children_warm"] == 2
        session = await begun(upstream)
        await trio.sleep(LAST)
        assert upstream.statistics()["children_warm"] == 2
        session.end()


async def test_who_comes_before_it_runs_waits_for_that(autojump_clock: trio.testing.MockClock) -> None:
    with spawning(server):
        upstream = StdioUpstream(Config(upstream=Upstream(command=("the-server",), warm=0)))
        async with trio.open_nursery() as tasks:
            for exchange in (call("echo"), legacy("initialize", {"protocolVersion": LEGACY}, 0, Session(b"s"))):
                tasks.start_soon(ask, upstream, exchange)
            await trio.sleep(5)
            async with running(upstream.run):
                while len(tasks.child_tasks) > 0:
                    await trio.sleep(0.1)


@pytest.mark.parametrize("before", [True, False])
async def test_who_comes_when_it_does_not_run_is_told_so(autojump_clock: trio.testing.MockClock, before: bool) -> None:
    with spawning(server):
        upstream = StdioUpstream(Config(upstream=Upstream(command=("the-server",), warm=0)))
        if not before:
            async with running(upstream.run):
                await settle()
        for exchange in (call("echo"), legacy("initialize", {"protocolVersion": LEGACY}, 0, Session(b"s"))):
            with pytest.raises(UpstreamUnreachable, match=r"not running \(StdioUpstream\.run\)"):
                await ask(upstream, exchange)


async def test_a_stdio_client_has_one_session_so_nothing_is_warmed_after_it(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(stdio=True) as (upstream, nursery):
        await begun(upstream)
        await trio.sleep(100)
        assert len(nursery.children) == 1


# --- limits

async def test_made_up_versions_do_not_fill_the_pool_with_shared_children(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(share=True, warm=0, pool=3) as (upstream, nursery):
        for version in (LEGACY, *(f"2099-01-{day:02}" for day in range(1, 20)), None, "2025-06-18"):
            session = Session(b"s")
            assert "result" in (await ask(upstream, legacy("initialize", {"protocolVersion": version}, 0, session)))[0]
            session.end()
        assert len(nursery.children) == 3, "two that are known, and the rest"


async def test_past_the_pool_sessions_wait_and_then_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(pool=2, warm=0, timeouts=Timeouts(queue=7)) as (upstream, _):
        one, _two = await begun(upstream), await begun(upstream)
        start = trio.current_time()
        with pytest.raises(Overloaded, match=r"all 2 children are in use \(upstream\.pool\)"):
            await begun(upstream)
        assert trio.current_time() - start == 7
        async with trio.open_nursery() as tasks:
            tasks.start_soon(begun, upstream)
            await trio.sleep(3)
            one.end()
        assert upstream.statistics()["children"] == 2


async def test_warm_ones_count_and_are_used_when_that_is_all_there_may_be(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(pool=2, warm=5, timeouts=Timeouts(queue=1)) as (upstream, nursery):
        await trio.sleep(1)
        assert upstream.statistics()["children"] == 2
        await begun(upstream)
        await begun(upstream)
        with pytest.raises(Overloaded):
            await begun(upstream)
        assert len(nursery.children) == 2


async def test_a_command_that_cannot_be_started_is_told_of_and_can_be_mended(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(refusal="it is not in PATH") as (upstream, nursery):
        for _ in range(3):
            with pytest.raises(UpstreamUnreachable, match="not in PATH"):
                await begun(upstream)
            with pytest.raises(UpstreamUnreachable, match="not in PATH"):
                await ask(upstream, call("echo"))
        assert upstream.statistics()["children"] == 0
        nursery.refusal = None
        await begun(upstream)
        assert "result" in (await ask(upstream, call("echo")))[0]


# --- share = false: one exchange at a time

async def test_a_child_is_leased_to_one_exchange_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(share=False, warm=0) as (upstream, nursery):
        async with trio.open_nursery() as tasks:
            for number in range(3):
                tasks.start_soon(ask, upstream, call("echo", say=number, delay=5))
        assert len(nursery.children) == 3
        for _ in range(5):
            await ask(upstream, call("echo"))
        assert len(nursery.children) == 3, "one after the other needs no more"
        with pytest.raises(UpstreamExited):
            await ask(upstream, call("die"))
        await ask(upstream, call("echo"))
        assert len(nursery.living) in (2, 3)


async def test_idle_ones_make_room_for_sessions_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(share=False, warm=0, pool=2) as (upstream, nursery):
        async with trio.open_nursery() as tasks:
            for _ in range(2):
                tasks.start_soon(ask, upstream, call("echo", delay=1))
        start = trio.current_time()
        one, other = await begun(upstream), await begun(upstream)
        assert trio.current_time() == start
        assert len(nursery.living) == 2
        with pytest.raises(Overloaded):
            await ask(upstream, call("echo"))
        one.end()
        other.end()
        await ask(upstream, call("echo"))


async def test_those_beyond_need_are_let_go(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(share=False, warm=0) as (upstream, nursery):
        async with trio.open_nursery() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, upstream, call("echo", delay=1))
        assert len(nursery.living) == 5
        for _ in range(30):
            await ask(upstream, call("echo"))
            await trio.sleep(REST / 10)
        assert len(nursery.living) == 1
        await trio.sleep(2 * REST)
        assert nursery.living == []


Use = Callable[[StdioUpstream], Awaitable[object]]


async def _legacy(upstream: StdioUpstream) -> None:
    session = Session(b"s")
    try:
        await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, session))
        await ask(upstream, old_call(session, "echo", delay=1))
    finally:
        session.end()


async def _modern(upstream: StdioUpstream) -> None:
    for _ in range(2):
        await ask(upstream, call("echo", delay=1))


@pytest.mark.parametrize(("use", "share"), [(_legacy, None), (_legacy, True), (_modern, None), (_modern, False)])
def test_cancelled_at_every_step_no_child_is_orphaned(use: Use, share: bool | None) -> None:
    async def scenario(sword: Sword) -> None:
        async with upstream_of(share=share, warm=0) as (upstream, nursery):
            nursery.delay = 0.5
            with sword():
                await use(upstream)
            await trio.sleep(10)
            kept = 0 if use is _legacy and not share else 1  # the shared one, or the idle one of the pool
            assert len(nursery.living) <= kept
            assert upstream.statistics()["children"] == len(nursery.living)
            nursery.delay = 0
            await use(upstream)

    assert cancel_everywhere(scenario) > 8


# a client: its era, when, what, how long it has patience
clients = st.tuples(st.sampled_from(["modern", "legacy"]), st.integers(0, 3), st.sampled_from(["echo", "hang", "die"]), st.integers(0, 4))


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 3), st.integers(0, 2), st.sampled_from([None, False, True]), st.lists(clients, max_size=8))
def test_any_history_leaves_no_more_children_than_the_pool_and_none_for_nobody(size: int, warm: int, share: bool | None, plan: list[tuple[str, int, str, int]]) -> None:
    async def main() -> None:
        async with upstream_of(pool=size, warm=warm, share=share, timeouts=Timeouts(queue=2)) as (upstream, nursery):
            async def act(era: str, start: int, name: str, patience: int) -> None:
                await trio.sleep(start)
                session = Session(b"s")
                with trio.move_on_after(patience):
                    try:
                        if era == "modern":
                            await ask(upstream, call(name, delay=1))
                        else:
                            await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, session))
                            await ask(upstream, old_call(session, name, delay=1))
                    except ProxyError:
                        pass
                assert len(nursery.living) <= size
                session.end()

            async with trio.open_nursery() as tasks:
                for one in plan:
                    tasks.start_soon(act, *one)
            await trio.sleep(100)
            statistics = upstream.statistics()
            assert statistics["children"] == len(nursery.living) <= size
            assert statistics["children_warm"] <= max(warm, 1)

    virtually(main)


async def test_a_client_that_names_event_streams_first_gets_one(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of() as (upstream, _):
        session = Session(b"s")
        for accept, streamed in [(b"application/json, text/event-stream", False), (b"text/event-stream, application/json", True)]:
            headers = ((b"content-type", b"application/json"), (b"accept", accept))
            with legacy("initialize", {}, session=session, headers=headers) as hello:
                assert isinstance(await upstream.call(hello), Message)
            with legacy("tools/list", {}, session=session, headers=headers) as exchange:
                reply = await upstream.call(exchange)
                assert isinstance(reply, Message) != streamed
                assert (await response_of(reply))["id"] == 1
        session.end()
