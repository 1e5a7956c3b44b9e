"""Whatever happens to an exchange, its connection comes back or is dropped: cancelled at every step, saturated, with streams that wait."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from cancelling import Sword, cancel_everywhere, virtually
from dialogue import NO_ID, POST, Json, all_of, legacy, listening, modern, plain
from http_upstreams import ask, upstream_for
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import Asked, Wire

from shadowproxy.config import Timeouts
from shadowproxy.errors import Overloaded, ProxyError
from shadowproxy.exchange import Session
from shadowproxy.upstream.http import HttpUpstream
from shadowproxy.upstream.http1 import FRESH
from shadowproxy.wire.jsonrpc import Message


async def server(asked: Asked, wire: Wire) -> None:
    """JSON, a stream, a refusal, a redirect, or nonsense, as the method says; a 202 for what is no request; a standing stream for GET."""
    if asked.method == "GET":
        await wire.begin_events()
        await wire.event({"method": "notifications/x"})
        return await wire.gone()
    if asked.method == "DELETE" or "id" not in asked.message:
        return await wire.answer(202)
    message: Json = asked.message
    match message["method"]:
        case "stream":
            await wire.begin_events()
            await wire.event({"method": "notifications/x"})
            await trio.sleep(1)
            await wire.event({"id": message["id"], "result": {}})
            await wire.end_events()
        case "refuse":
            await wire.answer(500, b"no")
        case "redirect":
            await wire.answer(307, location="http://elsewhere.test/")
        case "nonsense":
            await wire.answer(200, b"what?", content_type="application/json")
        case "hang up":
            wire.close()
        case _:
            await trio.sleep(1)
            await wire.json({"id": message["id"], "result": {}})


def session() -> Session:
    found = Session(b"ours")
    found.upstream_id = b"theirs"
    return found


async def call(upstream: HttpUpstream, method: str) -> None:
    await ask(upstream, legacy(method, session=session()))


async def notify(upstream: HttpUpstream, method: str) -> None:
    with legacy(method, id=NO_ID, session=session()) as exchange:
        await upstream.notify(exchange)


async def listen(upstream: HttpUpstream, method: str) -> None:
    with listening(session()) as exchange:
        async for _ in await upstream.listen(exchange):
            break


async def end(upstream: HttpUpstream, method: str) -> None:
    with listening(session()) as exchange:
        await upstream.end(exchange)


Use = Callable[[HttpUpstream, str], Awaitable[None]]


@pytest.mark.parametrize(("use", "method", "steps"), [
    (call, "json", 5), (call, "stream", 6), (call, "refuse", 4), (call, "redirect", 4), (call, "nonsense", 4), (call, "hang up", 4),
    (notify, "notifications/x", 4), (listen, "", 4), (end, "", 4),
])
def test_cancelled_at_every_step_the_lease_is_given_back(use: Use, method: str, steps: int) -> None:
    async def scenario(sword: Sword) -> None:
        async with upstream_for(server, pool=1) as (upstream, peer):
            await call(upstream, "json")
            with sword():
                for _ in range(2):
                    try:
                        await use(upstream, method)
                    except ProxyError:
                        pass
            statistics = upstream.statistics()
            assert statistics["pool_leased"] == 0
            assert peer.open == statistics["pool_idle"] <= 2
            await call(upstream, "json")  # it works as before, with the only connection that there is
            await notify(upstream, "notifications/x")

    assert cancel_everywhere(scenario) >= steps


async def test_cancelled_while_connecting_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(server, pool=1) as (upstream, peer):
        peer.dialling = trio.sleep_forever
        for use in (call, notify, listen, end):
            with trio.move_on_after(1):
                await use(upstream, "json")
            assert upstream.statistics()["pool_leased"] == 0
        peer.dialling = None
        await call(upstream, "json")


async def test_past_the_pool_requests_wait_and_then_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(server, pool=2, timeouts=Timeouts(queue=1.5)) as (upstream, peer):
        outcomes: list[str] = []

        async def use() -> None:
            try:
                await call(upstream, "json")
                outcomes.append("answered")
            except Overloaded as error:
                assert "all 2 connections to http://server.test/mcp?key=1 are busy (upstream.pool)" in error.message
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(use)
        assert sorted(outcomes) == ["answered"] * 4 + ["refused"] * 2
        assert len(peer.wires) == 2


async def test_answers_get_through_when_every_connection_is_a_stream_that_waits_for_just_them(autojump_clock: trio.testing.MockClock) -> None:
    answered = trio.Event()

    async def asking(asked: Asked, wire: Wire) -> None:
        if "result" in asked.message:
            answered.set()
            return await wire.answer(202)
        await wire.begin_events()
        await wire.event({"id": "s", "method": "sampling/createMessage", "params": {}})
        await answered.wait()
        await wire.event({"id": asked.message["id"], "result": {}})
        await wire.end_events()

    async with upstream_for(asking, pool=1) as (upstream, _):
        with trio.fail_after(5), legacy("tools/call") as exchange:
            replies = await upstream.call(exchange)
            assert not isinstance(replies, Message)
            question = await replies.__anext__()
            assert isinstance(question, Message)
            assert plain(question)["method"] == "sampling/createMessage"
            answer = legacy("", id=NO_ID)
            answer.request = Message.decode(b'{"jsonrpc":"2.0","id":"s","result":{}}')
            with answer:
                await upstream.notify(answer)
            assert (await all_of(replies))[-1]["result"] == {}


async def test_a_connection_that_the_server_closed_meanwhile_is_not_lent_again(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(server) as (upstream, peer):
        await call(upstream, "json")
        wire = peer.wires[0]
        assert wire.client is not None
        wire.client.gone = True  # as the watch says of a socket
        await call(upstream, "json")
        assert len(peer.wires) == 2


async def test_an_idle_connection_goes_stale(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(server) as (upstream, peer):
        await call(upstream, "json")
        await trio.sleep(60)
        await call(upstream, "json")
        assert len(peer.wires) == 2
        assert peer.open == 1


async def test_connections_beyond_need_are_closed_soon_and_the_server_sees_it(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(server) as (upstream, peer):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call, upstream, "json")
                nursery.start_soon(notify, upstream, "notifications/x")
        assert peer.open == upstream.statistics()["pool_idle"] == 10
        for _ in range(10):
            await trio.sleep(1)
            await call(upstream, "json")
        assert peer.open == upstream.statistics()["pool_idle"] == 1
        await trio.sleep(2 * FRESH)
        assert peer.open == upstream.statistics()["pool_idle"] == 0
        await call(upstream, "json")


# a client: what it does, when, how long it has patience
clients = st.tuples(st.sampled_from(["json", "stream", "refuse", "redirect", "nonsense", "hang up", "notify", "listen", "end"]), st.integers(0, 4), st.integers(0, 4))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 3), st.lists(clients, max_size=10))
def test_any_history_gives_everything_back(size: int, plan: list[tuple[str, int, int]]) -> None:
    async def main() -> None:
        async with upstream_for(server, pool=size, timeouts=Timeouts(queue=2)) as (upstream, peer):
            async def act(what: str, start: int, patience: int) -> None:
                await trio.sleep(start)
                with trio.move_on_after(patience):
                    try:
                        await {"notify": notify, "listen": listen, "end": end}.get(what, call)(upstream, what)
                    except ProxyError:
                        pass

            async with trio.open_nursery() as nursery:
                for one in plan:
                    nursery.start_soon(act, *one)
            statistics = upstream.statistics()
            assert (statistics["pool_leased"], statistics["pool_waiting"]) == (0, 0)
            assert peer.open == statistics["pool_idle"] <= 2 * size
            for _ in range(size + 1):
                await call(upstream, "json")

    virtually(main)


async def test_modern_clients_that_leave_drop_their_connection_so_that_the_server_sees_it(autojump_clock: trio.testing.MockClock) -> None:
    """2026-07-28, basic/transports/streamable-http.mdx: to close the stream is to cancel."""
    gone = trio.Event()

    async def hanging(asked: Asked, wire: Wire) -> None:
        await wire.begin_events()
        await wire.gone()
        gone.set()

    async with upstream_for(hanging) as (upstream, _):
        with trio.move_on_after(1), modern("tools/call", headers=POST) as exchange:
            await all_of(await upstream.call(exchange))
        with trio.fail_after(1):
            await gone.wait()
