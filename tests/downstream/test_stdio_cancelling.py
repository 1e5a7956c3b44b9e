"""`notifications/cancelled` on a pipe: who is cancelled, who is told, and that an id means one request at a time."""
from __future__ import annotations

from pipes import Pipe, open_pipe

import pytest
import trio
from dialogue import META, NO_ID, Json, legacy, message, modern
from fakes import FakeUpstream, Feed, after, feeding, hang, note, result_of
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.errors import UpstreamExited
from shadowproxy.exchange import Exchange

MODERN, LEGACY = modern("x", id="a"), legacy("x", id="a")
ERAS = pytest.mark.parametrize("exchange", [LEGACY, MODERN], ids=["legacy", "modern"])
TRIES = range(8)
"""Trio shuffles tasks that become ready together; what must hold in every order is tried in several."""


def cancelled(id: object, **members: object) -> Json:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, **members}}


async def nothing_left(pipe: Pipe) -> bool:
    await wait_all_tasks_blocked()
    return not pipe.upstream.open and not pipe.server.exchanges and not pipe.gateway.admission.in_flight


@ERAS
async def test_a_cancelled_request_ends_and_is_not_answered(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_pipe(FakeUpstream(hang)) as pipe:
        await pipe.say(exchange)
        await wait_all_tasks_blocked()
        assert len(pipe.upstream.open) == 1
        await pipe.say(cancelled("a"))
        assert await pipe.quiet(100)
        assert await nothing_left(pipe)
        assert pipe.upstream.cancelled == pipe.upstream.calls


@ERAS
async def test_a_cancelled_stream_ends_and_is_not_answered(autojump_clock: MockClock, exchange: Exchange) -> None:
    feed = Feed(note())
    async with open_pipe(FakeUpstream(feeding(feed))) as pipe:
        await pipe.say(exchange)
        await pipe.hear()
        await pipe.say(cancelled("a"))
        await wait_all_tasks_blocked()
        feed.put(message(id="a", result={}))
        assert await pipe.quiet(100)
        assert await nothing_left(pipe)


async def test_a_modern_server_learns_of_it_by_its_exchange_and_a_legacy_one_by_the_notification(autojump_clock: MockClock) -> None:
    for exchange in (MODERN, LEGACY):
        async with open_pipe(FakeUpstream(hang)) as pipe:
            await pipe.say(exchange)
            await wait_all_tasks_blocked()
            await pipe.say(cancelled("a", reason="enough"))
            await wait_all_tasks_blocked()
            told = [seen.request.params() for seen in pipe.upstream.notes]
            assert len(told) == (exchange is LEGACY)


async def test_a_legacy_server_is_told_before_its_exchange_ends(autojump_clock: MockClock) -> None:
    open_when_told: list[int] = []
    async with open_pipe(FakeUpstream(hang)) as pipe:

        async def notify(exchange: Exchange) -> None:
            await trio.sleep(1)
            open_when_told.append(len(pipe.upstream.open))

        pipe.upstream.on_notify = notify
        await pipe.say(LEGACY)
        await wait_all_tasks_blocked()
        await pipe.say(cancelled("a"))
        await trio.sleep(2)
        assert open_when_told == [1]
        assert await nothing_left(pipe)


@ERAS
@pytest.mark.parametrize("take", TRIES)
async def test_in_the_same_breath_as_its_request(autojump_clock: MockClock, exchange: Exchange, take: int) -> None:
    """Both lines come in one read: the cancellation must neither be lost nor overtake what it cancels."""
    async with open_pipe(FakeUpstream(hang)) as pipe:
        await pipe.say(exchange, cancelled("a"))
        assert await pipe.quiet(1)
        assert await nothing_left(pipe)
        assert len(pipe.upstream.notes) <= len(pipe.upstream.calls)


@pytest.mark.parametrize("take", TRIES)
async def test_an_id_may_be_used_again_once_its_request_is_cancelled(autojump_clock: MockClock, take: int) -> None:
    """2026-07-28, basic/index.mdx, "Requests": only a request that is outstanding has its id to itself."""
    async with open_pipe(FakeUpstream(hang)) as pipe:
        await pipe.say(MODERN)
        await wait_all_tasks_blocked()
        pipe.upstream.on_call = FakeUpstream().on_call
        await pipe.say(cancelled("a"), MODERN)
        assert result_of(await pipe.hear()) == {"of": "x"}
        await pipe.say(MODERN)
        assert result_of(await pipe.hear()) == {"of": "x"}
        assert await nothing_left(pipe)


async def test_a_cancelled_request_that_fails_says_nothing_either(autojump_clock: MockClock) -> None:
    go = trio.Event()

    async def call(exchange: Exchange) -> Feed:
        await go.wait()
        raise UpstreamExited("gone")

    async def notify(exchange: Exchange) -> None:
        go.set()
        await trio.sleep(1)

    async with open_pipe(FakeUpstream(call)) as pipe:
        pipe.upstream.on_notify = notify
        await pipe.say(LEGACY)
        await wait_all_tasks_blocked()
        await pipe.say(cancelled("a"))
        assert await pipe.quiet(100)
        assert await nothing_left(pipe)


@pytest.mark.parametrize("wrong", ["b", 1, "1.0", None, {}, ["a"], 1.5])
@ERAS
async def test_another_id_cancels_nothing(autojump_clock: MockClock, exchange: Exchange, wrong: object) -> None:
    async with open_pipe(FakeUpstream(after(5))) as pipe:
        await pipe.say(exchange)
        await wait_all_tasks_blocked()
        await pipe.say(cancelled(wrong))
        assert result_of(await pipe.hear()) == {"of": "x"}


@pytest.mark.parametrize(("mine", "other"), [(1, "1"), ("1", 1)])
async def test_a_number_is_not_a_string(autojump_clock: MockClock, mine: object, other: object) -> None:
    async with open_pipe(FakeUpstream(hang)) as pipe:
        await pipe.say(modern("x", id=mine), modern("x", id=other))
        await wait_all_tasks_blocked()
        await pipe.say(cancelled(mine))
        await wait_all_tasks_blocked()
        assert [bytes(exchange.id or b"") for exchange in pipe.upstream.cancelled] == [b'"1"' if mine == "1" else b"1"]


async def test_an_id_is_what_it_says_however_it_is_spelled(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(hang)) as pipe:
        await pipe.say(b'{"jsonrpc":"2.0","id":"\\u0061","method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}\n')
        await wait_all_tasks_blocked()
        await pipe.say(cancelled("a"))
        assert await nothing_left(pipe)


@pytest.mark.parametrize("params", [b"", b',"params":7', b',"params":{}', b',"params":[]', b',"params":null'])
async def test_a_cancellation_of_nothing_is_dropped(autojump_clock: MockClock, params: bytes) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(b'{"jsonrpc":"2.0","method":"notifications/cancelled"%b}\n' % params, MODERN)
        assert result_of(await pipe.hear()) == {"of": "x"}
        assert await pipe.quiet(1)


async def test_a_late_cancellation_is_for_a_legacy_server_to_ignore(autojump_clock: MockClock) -> None:
    """An exchange of its own may have ended here and still go on there."""
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(LEGACY)
        await pipe.hear()
        await pipe.say(cancelled("a"))
        await wait_all_tasks_blocked()
        assert [seen.request.method for seen in pipe.upstream.notes] == ["notifications/cancelled"]


async def test_a_modern_request_is_cancelled_also_where_a_session_is_open(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(legacy("initialize", id=0))
        await pipe.hear()
        pipe.upstream.on_call = hang
        await pipe.say(MODERN)
        await wait_all_tasks_blocked()
        await pipe.say(Exchange(message(method="notifications/cancelled", params={"requestId": "a", "_meta": META}), "modern"))
        await wait_all_tasks_blocked()
        assert (pipe.upstream.cancelled, pipe.upstream.notes) == ([pipe.upstream.calls[1]], [])


@ERAS
async def test_two_requests_of_one_id_are_both_answered_and_both_awaited(autojump_clock: MockClock, exchange: Exchange) -> None:
    """No client may do that; if one does, nothing of it is left behind."""
    async with open_pipe(FakeUpstream(after(5))) as pipe:
        await pipe.say(exchange, exchange)
        await trio.sleep(1)
        assert pipe.server.exchanges == 2
        pipe.end()
        heard = await pipe.hear_all()
        assert [result_of(one) for one in heard if one["id"] == "a"] == [{"of": "x"}] * 2
        assert await nothing_left(pipe)


async def test_a_cancellation_during_the_drain_still_counts(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(hang)) as pipe:
        await pipe.say(MODERN, legacy("x", id="b"))
        await wait_all_tasks_blocked()
        await pipe.say(cancelled("a"), legacy("notifications/cancelled", {"requestId": "b"}, NO_ID))
        pipe.end()
        assert await pipe.hear_all() == []
        assert trio.current_time() < 1
