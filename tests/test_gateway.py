"""The gateway: admission first, then the interceptors from the outermost in, then the upstream; and back."""
from __future__ import annotations

import pytest
import trio
from dialogue import legacy, listening, plain
from fakes import FakeUpstream, Feed, answer_to, failing, feeding, hang, note
from trio.testing import MockClock

from shadowproxy.admission import Admission
from shadowproxy.errors import Overloaded, UpstreamExited
from shadowproxy.exchange import Call, Exchange, Listen, Notify, Replies, Reply
from shadowproxy.gateway import Gateway


class Noting:
    """Writes down when it is passed, in and out."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.name, self.diary = name, diary

    async def call(self, next: Call, exchange: Exchange) -> Reply:
        self.diary.append(f"{self.name} in")
        try:
            return await next(exchange)
        finally:
            self.diary.append(f"{self.name} out")


class NotingAll(Noting):
    async def notify(self, next: Notify, exchange: Exchange) -> None:
        self.diary.append(f"{self.name} notify")
        await next(exchange)

    async def listen(self, next: Listen, exchange: Exchange) -> Replies:
        self.diary.append(f"{self.name} listen")
        return await next(exchange)


def gateway(upstream: FakeUpstream, *interceptors: Noting, permits: int = 10) -> Gateway:
    return Gateway(upstream, Admission(permits, 10, 5), interceptors)


async def test_the_first_interceptor_is_the_outermost(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    house = gateway(FakeUpstream(), Noting("a", diary), Noting("b", diary))
    with legacy("x") as exchange:
        reply = await house.call(exchange)
    assert diary == ["a in", "b in", "b out", "a out"]
    assert reply.members["result"] is not None  # type: ignore[union-attr]  # the echo is a Message


async def test_without_interceptors_the_upstream_is_asked(autojump_clock: MockClock) -> None:
    upstream = FakeUpstream(feeding(Feed(note(), ended=True)))
    house = gateway(upstream)
    with legacy("x") as exchange:
        assert isinstance(await house.call(exchange), Feed)
        await house.notify(exchange)
        await house.listen(exchange)
        await house.end(exchange)
    assert upstream.calls == upstream.notes == upstream.listeners == upstream.ends == [exchange]


async def test_notify_and_listen_go_through_those_who_want_them(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    house = gateway(FakeUpstream(), NotingAll("a", diary), Noting("b", diary), NotingAll("c", diary))
    await house.notify(legacy("notifications/x"))
    with listening() as exchange:
        await house.listen(exchange)
    assert diary == ["a notify", "c notify", "a listen", "c listen"]


async def test_an_interceptor_may_answer_itself_change_and_ask_again(autojump_clock: MockClock) -> None:
    class Opinionated(Noting):
        async def call(self, next: Call, exchange: Exchange) -> Reply:
            if exchange.request.method == "blocked":
                return answer_to(exchange, by="interceptor")
            try:
                return await next(exchange)
            except UpstreamExited:
                upstream.on_call = FakeUpstream().on_call
                return await next(exchange)

    upstream = FakeUpstream(failing(UpstreamExited("gone")))
    house = gateway(upstream, Opinionated("a", []))
    for method, by in (("blocked", "interceptor"), ("retried", None)):
        with legacy(method) as exchange:
            reply = await house.call(exchange)
            assert plain(reply)["result"].get("by") == by  # type: ignore[arg-type]  # a Message either way
    assert upstream.methods == ["retried", "retried"]


async def test_a_permit_is_held_until_the_exchange_is_left_and_not_only_until_the_reply(autojump_clock: MockClock) -> None:
    house = gateway(FakeUpstream(), permits=1)
    with legacy("x") as exchange:
        await house.call(exchange)
        assert house.admission.in_flight == 1
    assert house.admission.in_flight == 0


async def test_nobody_is_asked_before_the_exchange_is_admitted(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    upstream = FakeUpstream(hang)
    house = gateway(upstream, Noting("a", diary), permits=1)
    async with trio.open_nursery() as nursery:

        async def first() -> None:
            with trio.move_on_after(3), legacy("first") as exchange:
                await house.call(exchange)

        nursery.start_soon(first)
        await trio.sleep(1)
        upstream.on_call = FakeUpstream().on_call
        with legacy("second") as exchange:
            await house.call(exchange)
        assert (trio.current_time(), upstream.methods, diary) == (3, ["first", "second"], ["a in", "a out"] * 2)
    house.admission.draining = True
    with pytest.raises(Overloaded, match="shutting down"), legacy("third") as exchange:
        await house.call(exchange)
    assert (len(diary), house.admission.in_flight) == (4, 0)
