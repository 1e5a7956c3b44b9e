"""Legacy streams seen through across disconnections: when the client comes back, with what, and when it gives up. Times are exact."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from cancelling import Sword, cancel_everywhere
from dialogue import LEGACY, Json, all_of, legacy, listening, plain
from http_upstreams import upstream_for
from hypothesis import given
from hypothesis import strategies as st
from peers import Asked, Wire

from shadowproxy.errors import ProxyError, SessionUnknown, UpstreamAnswered, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.own_client import BASE, CAP, PATIENCE, Backoff
from shadowproxy.wire.jsonrpc import Message

Step = Callable[[Asked, Wire], Awaitable[None]]
RESPONSE: Json = {"id": 1, "result": {}}


@pytest.fixture(autouse=True)
def longest_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance at its worst, so that times are exact."""
    monkeypatch.setattr("shadowproxy.upstream.own_client.random.uniform", lambda low, high: high)


class Script:
    """A server that answers its requests by the steps given, one after the other, the last for ever; it notes when and how it was asked."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.times: list[float] = []
        self.ids: list[str | None] = []

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        self.times.append(trio.current_time())
        self.ids.append(asked["last-event-id"])
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        await step(asked, wire)


def says(*events: tuple[Json | None, str | None, int | None], cut: bool = False) -> Step:
    """A stream of these events; then it ends, or breaks."""

    async def step(asked: Asked, wire: Wire) -> None:
        await wire.begin_events()
        for message, event_id, retry in events:
            await wire.event(message, event_id, retry)
        if cut:
            wire.close()
        else:
            await wire.end_events()

    return step


def refuses(status: int) -> Step:
    async def step(asked: Asked, wire: Wire) -> None:
        await wire.answer(status, b"no", content_type="text/plain")

    return step


async def hangs_up(asked: Asked, wire: Wire) -> None:
    wire.close()


def note(number: int) -> Json:
    return {"method": "notifications/x", "params": {"n": number}}


def session() -> Session:
    found = Session(b"stdio")
    found.upstream_id, found.version = b"theirs", LEGACY
    return found


def request() -> Exchange:
    return legacy("tools/call", session=session(), headers=None)


@pytest.mark.parametrize("cut", [False, True])
async def test_a_stream_that_stops_is_resumed_from_its_last_event(autojump_clock: trio.testing.MockClock, cut: bool) -> None:
    script = Script(says((None, "a1", 500), (note(1), "a2", None), cut=cut), says((note(2), "a3", None), cut=cut), says((RESPONSE, "a4", None)))
    async with upstream_for(script) as (upstream, peer):
        with request() as exchange:
            assert [m.get("params", m.get("result")) for m in await all_of(await upstream.call(exchange))] == [{"n": 1}, {"n": 2}, {}]
        assert script.times == [0, 0.5, 1.0], "the server said when"
        assert script.ids == [None, "a2", "a3"]
        for asked in peer.asked[1:]:
            assert (asked.method, asked["accept"], asked["mcp-session-id"], asked["mcp-protocol-version"]) == ("GET", "text/event-stream", "theirs", LEGACY)


async def test_without_an_event_id_there_is_nothing_to_resume_from(autojump_clock: trio.testing.MockClock) -> None:
    for first in (says((note(1), None, 500)), says((note(1), None, None), cut=True), says(), says((note(1), "", None))):
        script = Script(first)
        async with upstream_for(script) as (upstream, _):
            with pytest.raises(UpstreamBroken), request() as exchange:
                await all_of(await upstream.call(exchange))
            assert len(script.times) == 1


async def test_the_wait_doubles_up_to_the_cap_and_an_event_resets_it(autojump_clock: trio.testing.MockClock) -> None:
    refusals = [refuses(503)] * 9
    script = Script(says((None, "a1", None)), *refusals, says((note(1), "a2", None)), *refusals[:2], says((RESPONSE, None, None)))
    async with upstream_for(script) as (upstream, _):
        with request() as exchange:
            await all_of(await upstream.call(exchange))
    waits = [round(after - before, 6) for before, after in zip(script.times, script.times[1:], strict=False)]
    growing = [BASE * 2**n for n in range(1, 20)]
    assert waits == [min(CAP, wait) for wait in growing[:10]] + growing[:3]
    assert max(waits) == CAP


async def test_a_connection_alone_resets_nothing(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(says((None, "a1", None)), says(), says(), hangs_up, says(), says((RESPONSE, None, None)))
    async with upstream_for(script) as (upstream, _):
        with request() as exchange:
            await all_of(await upstream.call(exchange))
    waits = [round(after - before, 6) for before, after in zip(script.times, script.times[1:], strict=False)]
    assert waits == [BASE * 2, BASE * 4, BASE * 8, BASE * 16, BASE * 32]


async def test_the_servers_retry_is_the_floor(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(says((None, "a1", 10_000)), refuses(500), refuses(500), says((None, "a2", 0)), says((RESPONSE, None, None)))
    async with upstream_for(script) as (upstream, _):
        with request() as exchange:
            await all_of(await upstream.call(exchange))
    waits = [round(after - before, 6) for before, after in zip(script.times, script.times[1:], strict=False)]
    assert waits == [10, 10 + BASE * 4, 10 + BASE * 8, BASE * 2]


@pytest.mark.parametrize("status", [400, 401, 403, 405, 410, 501])
async def test_a_refusal_ends_it(autojump_clock: trio.testing.MockClock, status: int) -> None:
    script = Script(says((None, "a1", None)), refuses(status))
    async with upstream_for(script) as (upstream, _):
        with pytest.raises(UpstreamAnswered) as caught, request() as exchange:
            await all_of(await upstream.call(exchange))
        assert (caught.value.http_status, len(script.times)) == (status, 2)


async def test_a_session_that_was_forgotten_meanwhile_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Script(says((None, "a1", None)), refuses(404))) as (upstream, _):
        exchange = request()
        with pytest.raises(SessionUnknown), exchange:
            await all_of(await upstream.call(exchange))
        assert exchange.session is not None
        assert exchange.session.ended


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 0])
async def test_it_is_tried_for_minutes_and_then_given_up(autojump_clock: trio.testing.MockClock, status: int) -> None:
    script = Script(says((None, "a1", None)), refuses(status) if status else hangs_up)
    async with upstream_for(script) as (upstream, peer):
        with pytest.raises(UpstreamAnswered if status else UpstreamBroken), request() as exchange:
            await all_of(await upstream.call(exchange))
        assert PATIENCE < trio.current_time() <= PATIENCE + CAP
        assert peer.open <= 1


async def test_a_server_that_is_gone_is_tried_as_long(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Script(says((None, "a1", None)))) as (upstream, peer):
        with pytest.raises(UpstreamUnreachable), request() as exchange:
            replies = await upstream.call(exchange)

            async def refuse() -> None:
                raise UpstreamUnreachable("nobody there")

            peer.dialling = refuse
            await all_of(replies)
        assert PATIENCE < trio.current_time() <= PATIENCE + CAP


async def test_the_deadline_around_it_wins(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Script(says((None, "a1", 3_600_000)))) as (upstream, _):
        with trio.move_on_after(60) as scope, request() as exchange:
            await all_of(await upstream.call(exchange))
        assert scope.cancelled_caught
        assert trio.current_time() == 60


async def test_the_answer_to_another_request_is_not_taken_from_a_resumed_stream(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(says((None, "a1", None)), says(({"id": 2, "result": {"whose": "another's"}}, "a2", None)), says((RESPONSE, "a3", None)))
    async with upstream_for(script) as (upstream, _):
        with request() as exchange:
            assert await all_of(await upstream.call(exchange)) == [{"jsonrpc": "2.0", **RESPONSE}]
        assert script.ids == [None, "a1", "a2"]


async def test_a_substituted_id_is_restored_on_a_resumed_stream_too(autojump_clock: trio.testing.MockClock) -> None:
    async def answers(asked: Asked, wire: Wire) -> None:
        asker = asked.message["id"] if asked.method == "POST" else asked["last-event-id"]
        await wire.begin_events()
        if asked.method == "POST":
            await wire.event(None, str(asker))
        else:
            await wire.event({"id": asker if asker != "1" else 1, "result": {}})
        await wire.end_events()

    async with upstream_for(answers) as (upstream, peer):
        shared, got = session(), []

        async def call() -> None:
            with legacy("tools/call", session=shared, headers=None) as exchange:
                got.extend(await all_of(await upstream.call(exchange)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(call)
        assert got == [{"jsonrpc": "2.0", **RESPONSE}] * 2
        assert sorted(str(asked["last-event-id"]) for asked in peer.asked[2:]) == ["1", "shadowproxy-1"]


# --- the stream of what a server says unasked

async def test_a_standing_stream_is_opened_anew_whenever_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(says((note(1), None, None)), says((note(2), "b1", 2000), cut=True), hangs_up, says((note(3), None, None)))
    async with upstream_for(script) as (upstream, _):
        with listening(session(), None) as exchange:
            replies = await upstream.listen(exchange)
            got = [await replies.__anext__() for _ in range(3)]
        assert [plain(item)["params"]["n"] for item in got if isinstance(item, Message)] == [1, 2, 3]
        assert script.times == pytest.approx([0, BASE * 2, BASE * 2 + 2, BASE * 2 + 4 + BASE * 4])
        assert script.ids == [None, None, "b1", "b1"]


async def test_it_lives_for_days_on_a_server_that_keeps_closing_and_holds_one_connection_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(says())
    async with upstream_for(script) as (upstream, peer):
        with trio.move_on_after(24 * 3600), listening(session(), None) as exchange:
            replies = await upstream.listen(exchange)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(replies.__anext__)
                await trio.sleep(23 * 3600)
                assert peer.open <= 1
                assert len(exchange._leaving) < 5
                nursery.cancel_scope.cancel()
        assert len(script.times) > 2000


async def test_polling_holds_one_connection_beside_that_of_the_request(autojump_clock: trio.testing.MockClock) -> None:
    polls = [says((None, f"a{number}", 1000)) for number in range(30)]
    async with upstream_for(Script(*polls, says((RESPONSE, None, None)))) as (upstream, peer):
        with request() as exchange:
            replies = await upstream.call(exchange)
            assert await all_of(replies) == [{"jsonrpc": "2.0", **RESPONSE}]
            assert len(peer.wires) == 31
            assert peer.open <= 2


async def test_a_server_without_such_a_stream_says_so_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Script(refuses(405))) as (upstream, _):
        with pytest.raises(UpstreamAnswered), listening(session(), None) as exchange:
            await upstream.listen(exchange)
        assert trio.current_time() == 0


def test_cancelled_at_every_step_no_connection_is_left() -> None:
    async def scenario(sword: Sword) -> None:
        script = Script(says((None, "a1", 500)), refuses(503), says((note(1), "a2", None), cut=True), says((RESPONSE, None, None)))
        async with upstream_for(script) as (upstream, peer):
            with sword():
                try:
                    with request() as exchange:
                        await all_of(await upstream.call(exchange))
                except ProxyError:
                    pass
            assert upstream.statistics()["pool_leased"] == 0
            assert peer.open == upstream.statistics()["pool_idle"]

    assert cancel_everywhere(scenario) > 15


# --- back-off

@given(st.lists(st.sampled_from(["try", "try", "try", "reset"]), max_size=60), st.floats(0, 100))
def test_every_wait_is_within_its_bounds(steps: list[str], floor: float) -> None:
    backoff, tries = Backoff(), 0
    backoff.floor = floor
    for step in steps:
        if step == "reset":
            backoff.reset()
            tries = 0
            continue
        tries += 1
        wait = backoff.next()
        if tries == 1 and floor:
            assert wait == floor
        else:
            assert floor <= wait <= floor + min(CAP, BASE * 2**tries)


def test_it_can_be_tried_for_ever() -> None:
    backoff = Backoff()
    assert {backoff.next() for _ in range(10_000)} <= {BASE * 2**n for n in range(1, 8)} | {CAP}
