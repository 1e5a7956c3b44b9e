"""What a client says on a pipe, in which order the upstream hears it: in that of the lines, and nobody waits for a slow request."""
from __future__ import annotations

from pipes import Pipe, open_pipe

import pytest
import trio
from cancelling import virtually
from dialogue import NO_ID, Json, legacy, modern
from fakes import FakeUpstream, answer_to, hang, nothing
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import UpstreamExited
from shadowproxy.exchange import Exchange, Reply

TRIES = range(8)
"""Trio shuffles tasks that become ready together; what must hold in every order is tried in several."""


def notes(count: int) -> list[Exchange]:
    return [legacy(f"notifications/{number}", id=NO_ID) for number in range(count)]


class Diary:
    """An upstream's side: what it has heard, in order; notifications take `seconds` each."""

    def __init__(self, pipe: Pipe, *seconds: float) -> None:
        self.heard: list[str] = []
        self._seconds = iter(seconds)
        pipe.upstream.on_call, pipe.upstream.on_notify = self._call, self._notify

    async def _call(self, exchange: Exchange) -> Reply:
        self._write(exchange)
        return answer_to(exchange)

    async def _notify(self, exchange: Exchange) -> None:
        await trio.sleep(next(self._seconds, 0))
        self._write(exchange)

    def _write(self, exchange: Exchange) -> None:
        self.heard.append((exchange.request.method or "answer").rpartition("/")[2])


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("take", TRIES)
@pytest.mark.parametrize("seconds", [[], [0.9, 0.5, 0.1, 0.9, 0.3]], ids=["at once", "slowly"])
async def test_notifications_arrive_in_the_order_of_their_lines(autojump_clock: MockClock, seconds: list[float], take: int) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        diary = Diary(pipe, *seconds)
        await pipe.say(*notes(30))
        await trio.sleep(5)
        assert diary.heard == numbers(30)


@pytest.mark.parametrize("take", TRIES)
async def test_where_nothing_has_to_be_waited_for_requests_and_answers_keep_their_places_too(autojump_clock: MockClock, take: int) -> None:
    answer: Json = {"jsonrpc": "2.0", "id": 7, "result": {}}

    async def at_once(exchange: Exchange) -> None:
        diary._write(exchange)

    async with open_pipe(FakeUpstream()) as pipe:
        diary = Diary(pipe)
        pipe.upstream.on_notify = at_once
        for _ in range(10):
            await pipe.say(legacy("a", id=1), legacy("notifications/b", id=NO_ID), answer, legacy("c", id=2), legacy("notifications/d", id=NO_ID), modern("e", id=3))
        await wait_all_tasks_blocked()
        assert diary.heard == ["a", "b", "answer", "c", "d", "e"] * 10


async def test_a_slow_request_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        diary = Diary(pipe)
        pipe.upstream.on_call = hang
        await pipe.say(legacy("slow", id=1), *notes(5))
        await wait_all_tasks_blocked()
        assert diary.heard == numbers(5)


async def test_a_notification_that_hangs_holds_the_next_up_for_a_moment_only(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(), timeouts=Timeouts(request=60)) as pipe:
        diary = Diary(pipe, 100, 100)
        await pipe.say(*notes(6))
        await trio.sleep(2.5)
        assert diary.heard == ["2", "3", "4", "5"]


async def test_one_that_fails_makes_way(autojump_clock: MockClock) -> None:
    heard: list[str | None] = []

    async def refuse(exchange: Exchange) -> None:
        heard.append(exchange.request.method)
        raise UpstreamExited("gone")

    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_notify = refuse
        await pipe.say(*notes(3))
        await wait_all_tasks_blocked()
        assert heard == [f"notifications/{number}" for number in range(3)]


async def test_past_a_number_of_them_the_client_is_not_read(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(), limits=Limits(exchanges=4)) as pipe:
        pipe.upstream.on_notify = hang  # type: ignore[assignment]  # it never gets so far as to return
        await pipe.say(*notes(9), legacy("x", id=1))
        await trio.sleep(20)
        assert (len(pipe.upstream.notes), pipe.upstream.calls) == (4, [])
        pipe.upstream.on_notify = nothing
        assert (await pipe.hear())["id"] == 1  # as soon as the hanging ones have met their deadline


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_what_is_said_last_is_heard(seconds: float) -> None:
    async def scenario() -> list[str]:
        async with open_pipe(FakeUpstream()) as pipe:
            diary = Diary(pipe, seconds, seconds, seconds)
            await pipe.say(*notes(3))
            pipe.end()
            await pipe.hear_all()
            return diary.heard

    for _ in TRIES:
        assert virtually(scenario) == numbers(3)


async def test_at_the_end_nobody_waits_for_one_that_hangs(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_notify = hang  # type: ignore[assignment]  # it never gets so far as to return
        await pipe.say(*notes(3))
        pipe.end()
        assert await pipe.hear_all() == []
        assert trio.current_time() <= 5
