"""Falling back to 2024-11-05 behind the HTTP upstream: how a session of it begins, what it holds, and that nothing is left of one that did not."""
from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from cancelling import Sword, cancel_everywhere
from dialogue import LEGACY, NO_ID, Json, legacy
from http_upstreams import URL, ask, upstream_for
from peers import Asked, Wire, chunk, open_peer

from shadowproxy.config import Config, Timeouts, Upstream
from shadowproxy.errors import ProxyError, UpstreamAnswered, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Session
from shadowproxy.service import running
from shadowproxy.upstream.http import HttpUpstream


class Old:
    """A server of 2024-11-05 at the one URL: POST is refused, GET names an endpoint, which answers on the stream."""

    def __init__(self, *endpoints: str, refusal: int = 405, patience: float = 0, kind: str = "text/event-stream") -> None:
        self._kind = kind
        self.endpoints, self._refusal, self._patience = endpoints, refusal, patience
        self.stream: Wire | None = None
        self.posted: list[Json] = []

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        if asked.method == "GET":
            self.stream = wire
            await wire.begin_events(**{"content-type": self._kind})
            await trio.sleep(self._patience)
            for endpoint in self.endpoints:
                await wire.send(chunk(f"event: endpoint\ndata: {endpoint}\n\n".encode()))
            return await wire.gone()
        if asked.target == "/mcp?key=1":
            return await wire.answer(self._refusal, b"no")
        await trio.sleep(len(self.posted) % 3)
        self.posted.append(asked.message)
        await wire.answer(202)
        if "id" in asked.message and self.stream is not None:
            reply = {"jsonrpc": "2.0", "id": asked.message["id"], "result": {"target": asked.target}}
            await self.stream.send(chunk(f"event: message\ndata: {json.dumps(reply)}\n\n".encode()))


def initialize(session: Session) -> Exchange:
    return legacy("initialize", {"protocolVersion": LEGACY}, "x", session)


@pytest.mark.parametrize("runs", [True, False])
async def test_who_comes_before_it_runs_waits_for_that(autojump_clock: trio.testing.MockClock, runs: bool) -> None:
    async with open_peer(Old("/messages")) as peer:
        upstream = HttpUpstream(Config(upstream=Upstream(url=URL)), peer.connect)
        session, replies = Session(b"ours"), list[Json]()

        async def begin() -> None:
            if runs:
                replies.extend(await ask(upstream, initialize(session)))
            else:
                with pytest.raises(UpstreamUnreachable, match=r"not running \(HttpUpstream\.run\)"):
                    await ask(upstream, initialize(session))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
            await trio.sleep(5 if runs else 50)
            async with running(upstream.run):
                await trio.sleep(5)
                session.end()
        assert len(replies) == runs
        upstream.pool.close()


@pytest.mark.parametrize("refusal", [400, 404, 405])
async def test_a_server_that_refuses_the_post_is_spoken_to_in_the_old_way(autojump_clock: trio.testing.MockClock, refusal: int) -> None:
    server = Old("/messages?session=1", refusal=refusal)
    async with upstream_for(server) as (upstream, peer):
        for _ in range(2):
            session = Session(b"ours")
            assert (await ask(upstream, initialize(session)))[0] == {"jsonrpc": "2.0", "id": "x", "result": {"target": "/messages?session=1"}}
            assert session.id is not None
            assert (await ask(upstream, legacy("tools/list", id="x", session=session)))[0]["id"] == "x"
            session.end()
        assert sum(asked.method == "POST" and asked.target == "/mcp?key=1" for asked in peer.asked) == 1, "it is refused once"
        await trio.testing.wait_all_tasks_blocked()
        assert peer.open == upstream.statistics()["pool_idle"]


async def test_a_media_type_has_no_case(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Old("/messages", kind="Text/Event-Stream; charset=UTF-8")) as (upstream, _):
        session = Session(b"ours")
        assert (await ask(upstream, initialize(session)))[0]["result"] == {"target": "/messages"}
        session.end()


@pytest.mark.parametrize("endpoint", ["http://elsewhere.test/messages", "https://server.test/messages", "//elsewhere.test/messages"])
async def test_an_endpoint_elsewhere_is_not_followed(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    server = Old(endpoint)
    async with upstream_for(server) as (upstream, peer):
        with pytest.raises(UpstreamAnswered):
            await ask(upstream, initialize(Session(b"ours")))
        assert {asked["host"] for asked in peer.asked} == {"server.test"}
        assert server.posted == []


async def test_a_server_that_names_none_is_given_up_in_time(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Old(), timeouts=Timeouts(connect=3)) as (upstream, peer):
        with pytest.raises(UpstreamAnswered) as caught:
            await ask(upstream, initialize(Session(b"ours")))
        assert (trio.current_time(), caught.value.http_status) == (3, 405)
        await trio.testing.wait_all_tasks_blocked()
        assert peer.open == upstream.statistics()["pool_idle"]


async def test_an_endpoint_that_is_named_twice_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    server = Old("/one", "/two")
    async with upstream_for(server) as (upstream, peer):
        session = Session(b"ours")
        assert (await ask(upstream, initialize(session)))[0]["result"] == {"target": "/one"}
        for number in range(20):
            with legacy("notifications/x", {"n": number}, NO_ID, session) as exchange:
                await upstream.notify(exchange)
        await trio.sleep(100)
        assert [message["params"]["n"] for message in server.posted[1:]] == list(range(20)), "in order, each once"
        assert {asked.target for asked in peer.asked if asked.method == "POST"} == {"/mcp?key=1", "/one"}
        session.end()


async def test_the_end_of_the_stream_is_the_end_of_the_session(autojump_clock: trio.testing.MockClock) -> None:
    server = Old("/messages")
    async with upstream_for(server) as (upstream, _):
        session = Session(b"ours")
        await ask(upstream, initialize(session))
        assert server.stream is not None
        server.stream.close()
        await trio.testing.wait_all_tasks_blocked()
        assert session.ended
        with pytest.raises(UpstreamBroken):
            await ask(upstream, legacy("tools/list", session=session))


async def test_a_server_that_does_not_take_a_message_does_not_hold_the_others_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    class Stuck(Old):
        async def __call__(self, asked: Asked, wire: Wire) -> None:
            if asked.method == "POST" and self.posted and asked.message["method"] == "tools/call":
                return await wire.gone()
            await super().__call__(asked, wire)

    async with upstream_for(Stuck("/messages"), timeouts=Timeouts(request=60)) as (upstream, _):
        session = Session(b"ours")
        await ask(upstream, initialize(session))
        start = trio.current_time()
        with trio.move_on_after(10), legacy("tools/call", {"name": "x"}, 1, session) as exchange:  # who asked has left long before
            await upstream.call(exchange)
        with pytest.raises(UpstreamBroken, match=r"did not take a message within 60 s \(timeouts\.request\)"), trio.fail_after(100):
            await ask(upstream, legacy("tools/list", id=2, session=session))
        assert (trio.current_time() - start, session.ended) == (60, True)


def test_cancelled_at_every_step_no_stream_is_left() -> None:
    async def scenario(sword: Sword) -> None:
        async with upstream_for(Old("/messages", patience=1)) as (upstream, peer):
            session = Session(b"ours")
            with sword():
                try:
                    await ask(upstream, initialize(session))
                    await ask(upstream, legacy("tools/list", session=session))
                except ProxyError:
                    pass
            session.end()
            await trio.testing.wait_all_tasks_blocked()
            assert peer.open == upstream.statistics()["pool_idle"]

    assert cancel_everywhere(scenario) > 12
