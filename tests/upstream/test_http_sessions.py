"""Sessions and ids across the HTTP upstream: the upstream's own session ids, its forgetting, and ids that are in flight twice."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing
from cancelling import virtually
from dialogue import LEGACY, NO_ID, POST, Json, all_of, legacy, listening
from http_upstreams import ask, upstream_for
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import Asked, Wire

from shadowproxy.errors import SessionUnknown, UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange, Headers, Session
from shadowproxy.upstream.http import HttpUpstream

CLIENTS: Headers = (*POST, (b"mcp-session-id", b"ours"))


def initialize(session: Session, headers: Headers | None = POST) -> Exchange:
    return legacy("initialize", {"protocolVersion": LEGACY}, 0, session, headers)


async def stateful(asked: Asked, wire: Wire) -> None:
    """A server with one session, "theirs"."""
    if asked.method == "DELETE":
        return await wire.answer(200)
    message: Json = asked.message
    if message["method"] == "initialize":
        return await wire.json({"id": message["id"], "result": {"protocolVersion": LEGACY}}, mcp_session_id="theirs")
    if asked["mcp-session-id"] != "theirs":
        return await wire.json({"id": message.get("id"), "error": {"code": -32000, "message": "session?"}}, 400)
    if "id" not in message:
        return await wire.answer(202)
    await wire.json({"id": message["id"], "result": {}})


async def opened(upstream: HttpUpstream) -> Session:
    session = Session(b"ours")
    await ask(upstream, initialize(session))
    return session


async def test_the_clients_session_id_is_ours_and_the_servers_is_its_own(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(stateful) as (upstream, peer):
        session = await opened(upstream)
        assert (session.id, session.upstream_id) == (b"ours", b"theirs")
        assert peer.asked[0]["mcp-session-id"] is None
        exchange = legacy("tools/list", session=session, headers=CLIENTS)
        assert (await ask(upstream, exchange))[0]["result"] == {}
        assert (b"mcp-session-id", b"theirs") not in exchange.reply_headers
        with legacy("notifications/initialized", id=NO_ID, session=session, headers=CLIENTS) as note:
            await upstream.notify(note)
        assert [asked["mcp-session-id"] for asked in peer.asked[1:]] == ["theirs", "theirs"]


async def test_without_a_session_there_is_none_here(autojump_clock: trio.testing.MockClock) -> None:
    async def stateless(asked: Asked, wire: Wire) -> None:
        await wire.json({"id": asked.message["id"], "result": {}})

    async with upstream_for(stateless) as (upstream, _):
        session = await opened(upstream)
        assert (session.id, session.upstream_id) == (None, None)


async def test_a_second_handshake_that_is_refused_leaves_the_session_as_it_was(autojump_clock: trio.testing.MockClock) -> None:
    async def once(asked: Asked, wire: Wire) -> None:
        if asked["mcp-session-id"] is None or asked.message["method"] != "initialize":
            return await stateful(asked, wire)
        await wire.json({"id": 0, "error": {"code": -32600, "message": "already initialized"}}, 400)

    async with upstream_for(once) as (upstream, _):
        session = await opened(upstream)
        assert "error" in (await ask(upstream, initialize(session, CLIENTS)))[0]
        assert (session.id, session.upstream_id) == (b"ours", b"theirs")
        assert "result" in (await ask(upstream, legacy("tools/list", session=session, headers=CLIENTS)))[0]


@pytest.mark.parametrize(("status", "kind", "body"), [(404, "text/plain", b"gone"), (404, "application/json", b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"x"}}'),
                                                      (404, "application/json", b'{"detail":"x"}'), (404, "", b"")])  # fmt: skip
async def test_404_ends_the_session_here_too(autojump_clock: trio.testing.MockClock, status: int, kind: str, body: bytes) -> None:
    async def forgetful(asked: Asked, wire: Wire) -> None:
        if b"initialize" in asked.body and b"initialized" not in asked.body:
            return await stateful(asked, wire)
        await wire.answer(status, body, content_type=kind)

    makers: list[Callable[[Session], Exchange]] = [
        lambda session: legacy("tools/list", session=session, headers=CLIENTS),
        lambda session: legacy("notifications/x", id=NO_ID, session=session, headers=CLIENTS),
        lambda session: listening(session, CLIENTS),
    ]
    for exchange_for in makers:
        async with upstream_for(forgetful) as (upstream, _):
            session = await opened(upstream)
            ended: list[bool] = []
            session.on_leave(ended.append, True)
            with pytest.raises(SessionUnknown, match="initialize a new one"), exchange_for(session) as exchange:
                if exchange.request.is_request:
                    await upstream.call(exchange)
                elif exchange.request.method:
                    await upstream.notify(exchange)
                else:
                    await upstream.listen(exchange)
            assert session.ended
            assert ended == [True]


async def test_404_without_a_session_is_just_that(autojump_clock: trio.testing.MockClock) -> None:
    async def nothing_here(asked: Asked, wire: Wire) -> None:
        await wire.answer(404, b"nothing here")

    async with upstream_for(nothing_here) as (upstream, _):
        with pytest.raises(UpstreamAnswered) as caught, legacy("tools/list") as exchange:
            await upstream.call(exchange)
        assert caught.value.body == b"nothing here"


async def test_the_end_of_a_session_is_told_to_the_server_by_its_own_id(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(stateful) as (upstream, peer):
        session = await opened(upstream)
        for headers in (CLIENTS, None, ()):
            with listening(session, headers) as exchange:
                await upstream.end(exchange)
                assert exchange.status == 200
            assert (peer.asked[-1].method, peer.asked[-1]["mcp-session-id"]) == ("DELETE", "theirs")


async def test_a_server_that_does_not_allow_the_end_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async def stubborn(asked: Asked, wire: Wire) -> None:
        await (wire.answer(405) if asked.method == "DELETE" else stateful(asked, wire))

    async with upstream_for(stubborn) as (upstream, _):
        session = await opened(upstream)
        with pytest.raises(UpstreamAnswered) as caught, listening(session, CLIENTS) as exchange:
            await upstream.end(exchange)
        assert caught.value.http_status == 405


async def test_where_there_is_no_session_there_is_no_end_to_tell_of(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(stateful) as (upstream, peer):
        with listening(Session(b"ours"), CLIENTS) as exchange:
            await upstream.end(exchange)
        with listening(None, None) as exchange:
            await upstream.end(exchange)
        assert peer.asked == []


# --- one id, twice in flight

class ByKey:
    """A server that keeps its waiting requests by (session, id), as the SDKs do: a second one with the same key takes the first one's place."""

    def __init__(self, delays: Sequence[float] = ()) -> None:
        self.waiting: dict[tuple[str | None, object], Wire] = {}
        self.stolen = 0
        self._delays = list(delays)

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        message = asked.message
        if message["method"] == "initialize":
            return await stateful(asked, wire)
        key = asked["mcp-session-id"], message["id"]
        self.stolen += key in self.waiting and not self.waiting[key].deserted
        self.waiting[key] = wire
        await trio.sleep(message["params"]["delay"])
        if not wire.deserted:
            await self.waiting.pop(key).json({"id": message["id"], "result": {"you said": message["params"]["say"]}})


async def test_an_id_reused_in_flight_gets_a_substitute_and_both_answers_reach_their_asker(autojump_clock: trio.testing.MockClock) -> None:
    server = ByKey()
    async with upstream_for(server) as (upstream, peer):
        session = await opened(upstream)
        got: dict[str, list[Json]] = {}

        async def say(word: str, delay: float) -> None:
            got[word] = await ask(upstream, legacy("tools/call", {"say": word, "delay": delay}, 7, session, CLIENTS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, "first", 10)
            nursery.start_soon(say, "second", 5)
            nursery.start_soon(say, "third", 7)
        assert {word: (reply[0]["id"], reply[0]["result"]["you said"]) for word, reply in got.items()} == {w: (7, w) for w in ("first", "second", "third")}
        assert server.stolen == 0
        assert sorted(str(asked.message["id"]) for asked in peer.asked[1:]) == ["7", "shadowproxy-1", "shadowproxy-2"]
        await ask(upstream, legacy("tools/call", {"say": "later", "delay": 0}, 7, session, CLIENTS))
        assert peer.asked[-1].message["id"] == 7, "free again"


# a request: its session, its id, when it starts, how long the server takes, how long its client waits
requests = st.tuples(st.integers(0, 1), st.sampled_from([1, "1", "shadowproxy-1", "shadowproxy-2"]), st.integers(0, 3), st.integers(0, 4), st.integers(1, 6))


@settings(deadline=None, max_examples=150)
@given(st.lists(requests, max_size=10))
def test_no_two_requests_of_a_session_are_in_flight_under_one_id(plan: list[tuple[int, str | int, int, int, int]]) -> None:
    """Even if a client calls its requests what a substitute is called."""

    async def main() -> None:
        server = ByKey()
        async with upstream_for(server) as (upstream, _):
            sessions = [await opened(upstream), await opened(upstream)]
            sessions[1].upstream_id = b"theirs too"
            answers = 0

            async def say(number: int, who: int, id: str | int, start: int, delay: int, patience: int) -> None:
                nonlocal answers
                await trio.sleep(start)
                with trio.move_on_after(patience):
                    exchange = legacy("tools/call", {"say": number, "delay": delay}, id, sessions[who], CLIENTS)
                    with exchange:
                        reply = (await all_of(await upstream.call(exchange)))[0]
                    assert (reply["id"], reply["result"]["you said"]) == (id, number)
                    answers += 1

            async with trio.open_nursery() as nursery:
                for number, one in enumerate(plan):
                    nursery.start_soon(say, number, *one)
            assert server.stolen == 0
            assert answers >= sum(patience > delay for _, _, _, delay, patience in plan)
            assert all(session.upstream == set() for session in sessions)

    virtually(main)


async def test_the_late_answer_to_a_cancelled_request_reaches_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """The connection is the correlation: that of a cancelled request is dropped with it."""
    async def slow(asked: Asked, wire: Wire) -> None:
        await trio.sleep(asked.message["params"]["delay"])
        await wire.json({"id": asked.message["id"], "result": asked.message["params"]})

    async with upstream_for(slow) as (upstream, peer):
        with trio.move_on_after(1):
            await ask(upstream, legacy("tools/call", {"say": "old", "delay": 2}, 7))
        reply = await ask(upstream, legacy("tools/call", {"say": "new", "delay": 5}, 7))
        assert reply[0]["result"]["say"] == "new"
        assert len(peer.wires) == 2


@pytest.mark.parametrize("answered", [8, "7", None])
async def test_a_wrong_id_is_nobodys_answer(autojump_clock: trio.testing.MockClock, answered: object) -> None:
    async def confused(asked: Asked, wire: Wire) -> None:
        await wire.begin_events()
        await wire.event({"method": "notifications/message", "params": {}})
        await wire.event({"id": answered, "result": {}})
        await wire.end_events()

    async with upstream_for(confused) as (upstream, _):
        with legacy("tools/call", id=7) as exchange:
            replies = await upstream.call(exchange)
            with pytest.raises(UpstreamBroken, match="another id"):
                await all_of(replies)
