"""Ids in flight twice in one session over HTTP: a cancellation reaches the server by the id that the server knows."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from dialogue import NO_ID, POST, Json, legacy
from http_upstreams import ask, upstream_for
from peers import Asked, Peer, Wire

from shadowproxy.exchange import Headers, Session
from shadowproxy.upstream.http import HttpUpstream


class Client:
    """One session; its requests hang at the server, which answers none of them until told."""

    def __init__(self, upstream: HttpUpstream, peer: Peer, tasks: trio.Nursery, headers: Headers | None) -> None:
        self.session, self._upstream, self._peer, self._tasks, self._headers = Session(b"s"), upstream, peer, tasks, headers
        self._scopes: dict[str, trio.CancelScope] = {}

    async def call(self, name: str, id: Any = 7) -> Any:
        """Begin a call; the id that the server knows it by."""
        self._tasks.start_soon(self._call, name, id)
        await trio.testing.wait_all_tasks_blocked()
        return self._peer.asked[-1].message["id"]

    async def _call(self, name: str, id: Any) -> None:
        with trio.CancelScope() as self._scopes[name]:
            await ask(self._upstream, legacy("tools/call", {}, id, self.session, self._headers))

    async def leave(self, name: str) -> None:
        self._scopes[name].cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def cancel(self, params: Json | None = None) -> Json:
        """What the server is told when the client sends this cancellation."""
        note = legacy("notifications/cancelled", {"requestId": 7} if params is None else params, NO_ID, self.session, self._headers)
        with note:
            await self._upstream.notify(note)
        told: Json = self._peer.asked[-1].message["params"]
        return told


async def hanging(asked: Asked, wire: Wire) -> None:
    if "id" in asked.message:
        await wire.gone()
    else:
        await wire.answer(202)


@asynccontextmanager
async def clients(headers: Headers | None = POST) -> AsyncIterator[tuple[Client, Client]]:
    async with upstream_for(hanging) as (upstream, peer), trio.open_nursery() as tasks:
        yield Client(upstream, peer, tasks, headers), Client(upstream, peer, tasks, headers)
        tasks.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not upstream._substitutes.of


@pytest.mark.parametrize("headers", [POST, None])
async def test_the_newest_is_meant_and_then_the_one_before_it(headers: Headers | None) -> None:
    async with clients(headers) as (client, _):
        wires = [await client.call(name) for name in "abc"]
        assert wires == [7, "shadowproxy-1", "shadowproxy-2"]
        assert [(await client.cancel({"requestId": 7, "reason": "x"})) for _ in wires] == [{"requestId": wire, "reason": "x"} for wire in reversed(wires)]


async def test_those_that_are_over_are_not_meant() -> None:
    async with clients() as (client, _):
        first, second, third = [await client.call(name) for name in "abc"]
        await client.leave("c")
        assert await client.cancel() == {"requestId": second}
        assert await client.cancel() == {"requestId": first}
        assert third != second


async def test_when_the_first_is_over_the_id_goes_to_the_newest_all_the_same() -> None:
    async with clients() as (client, _):
        await client.call("a")
        second = await client.call("b")
        await client.leave("a")
        third = await client.call("c")
        assert await client.cancel() == {"requestId": third}
        assert await client.cancel() == {"requestId": second}


async def test_sessions_are_kept_apart() -> None:
    async with clients() as (client, other):
        await client.call("a")
        await client.call("b")
        await other.call("a")
        assert await other.cancel() == {"requestId": 7}
        assert await client.cancel() == {"requestId": "shadowproxy-1"}


@pytest.mark.parametrize("params", [{"requestId": 8}, {"requestId": "7"}, {"requestId": None}, {}, {"requestId": 7.5}])
async def test_what_names_none_of_them_crosses_as_it_came(params: Json) -> None:
    async with clients() as (client, _):
        await client.call("a")
        await client.call("b")
        assert await client.cancel(params) == params


async def test_an_id_is_the_same_however_it_is_spelled() -> None:
    async with clients() as (client, _):
        await client.call("a", "a")
        await client.call("b", "a")
        assert await client.cancel({"requestId": "\u0061"}) == {"requestId": "shadowproxy-1"}
