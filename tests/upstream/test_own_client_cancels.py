"""A stdio client cancels a request that has not left for the HTTP server yet: the server hears of neither. One that has left is cancelled there."""
from __future__ import annotations

import trio
from dialogue import NO_ID, legacy
from http_upstreams import upstream_for
from peers import Asked, Wire
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.http import HttpUpstream


async def server(asked: Asked, wire: Wire) -> None:
    """Accepts every notification, and never answers a request."""
    if "id" in asked.message:
        await trio.sleep_forever()
    await wire.answer(202)


def cancelled(id: object, session: Session | None) -> Exchange:
    return legacy("notifications/cancelled", {"requestId": id}, NO_ID, session=session, headers=None)


async def _call(upstream: HttpUpstream, exchange: Exchange) -> None:
    with exchange:
        await upstream.call(exchange)


async def _notify(upstream: HttpUpstream, exchange: Exchange) -> None:
    with exchange:
        await upstream.notify(exchange)


async def test_what_has_no_connection_yet_is_not_cancelled_at_the_server(autojump_clock: MockClock) -> None:
    session = Session(b"stdio")
    async with upstream_for(server) as (upstream, peer), trio.open_nursery() as calls:
        peer.dialling = lambda: trio.sleep(5)
        calls.start_soon(_call, upstream, legacy("slow", id="a", session=session, headers=None))
        await wait_all_tasks_blocked()
        await _notify(upstream, cancelled("a", session))
        assert (trio.current_time(), peer.asked) == (0, [])
        await _notify(upstream, cancelled("b", session))  # another one may be there
        await _notify(upstream, cancelled("a", Session(b"other")))  # another session's is none of it
        await _notify(upstream, legacy("notifications/x", {"requestId": "a"}, NO_ID, session=session, headers=None))
        assert [asked.message["method"] for asked in peer.asked if "id" not in asked.message] == ["notifications/cancelled"] * 2 + ["notifications/x"]
        calls.cancel_scope.cancel()
    assert not upstream.unsent.holds(cancelled("a", session))


async def test_what_is_on_its_way_is_cancelled_there(autojump_clock: MockClock) -> None:
    session = Session(b"stdio")
    async with upstream_for(server) as (upstream, peer), trio.open_nursery() as calls:
        calls.start_soon(_call, upstream, legacy("slow", id="a", session=session, headers=None))
        await wait_all_tasks_blocked()
        await _notify(upstream, cancelled("a", session))
        assert [asked.message["method"] for asked in peer.asked] == ["slow", "notifications/cancelled"]
        calls.cancel_scope.cancel()
