"""Cancelled, or left by its client, at every scheduling step: an exchange gives back its permit, its place upstream and its session's time."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from cancelling import Sword, cancel_everywhere
from dialogue import NO_ID, POST, legacy, message, modern
from fakes import FakeUpstream, Feed, answer_to, feeding, note
from trio.testing import wait_all_tasks_blocked
from wires import Client, House, open_house, posted, request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.exchange import Exchange, Reply


async def mixed(exchange: Exchange) -> Reply:
    """Some answer at once, some later, some in a stream."""
    method = exchange.request.method
    if method == "slow":
        await trio.sleep(1)
    if method == "stream":
        return Feed(note(), answer_to(exchange), ended=True)
    await trio.lowlevel.checkpoint()
    return answer_to(exchange)


async def modern_talk(house: House, client: Client) -> None:
    for method in ("quick", "slow", "stream"):
        assert (await client.post(modern(method))).status == 200


async def legacy_talk(house: House, client: Client) -> None:
    session = (await client.post(legacy("initialize")))["mcp-session-id"] or ""
    assert (await client.post(legacy("notifications/initialized", id=NO_ID), mcp_session_id=session)).status == 202
    assert (await client.post(legacy("stream"), mcp_session_id=session)).status == 200
    body = b"[%b,%b]" % (legacy("slow", id=1).request.encode(), legacy("stream", id=2).request.encode())
    assert len((await client.ask(body=body, fields=POST, mcp_session_id=session)).messages) == 3
    assert (await client.ask("DELETE", mcp_session_id=session)).status == 200


async def pipelined_talk(house: House, client: Client) -> None:
    await client.send(posted(modern("slow", id=1)) + posted(modern("stream", id=2)) + posted(legacy("quick", id=3)))
    for _ in range(3):
        assert (await client.response()).status == 200


async def queued_talk(house: House, client: Client) -> None:
    """Another holds the only permit for a while."""
    other = house.connect()
    await other.send(posted(modern("slow")))
    assert (await client.post(modern("quick"))).status == 200
    assert (await other.response()).status == 200


async def refused_talk(house: House, client: Client) -> None:
    await client.send(request_bytes(body=b"nonsense", fields=POST) + b"garbage\r\n\r\n")
    assert [(await client.response()).status for _ in range(2)] == [400, 400]


TALKS = pytest.mark.parametrize("talk", [modern_talk, legacy_talk, pipelined_talk, queued_talk, refused_talk])


def all_given_back(house: House) -> None:
    assert (house.gateway.admission.in_flight, house.gateway.admission.waiting, house.upstream.open) == (0, 0, set())
    sessions = {exchange.session for exchange in house.upstream.calls if exchange.session is not None}
    assert [session.busy for session in sessions] == [0] * len(sessions)


@TALKS
def test_cancelled_anywhere(talk: Callable[[House, Client], Awaitable[None]]) -> None:
    async def scenario(sword: Sword) -> None:
        house = None
        with sword():
            async with open_house(FakeUpstream(mixed), limits=Limits(exchanges=1)) as house:
                await talk(house, house.connect())
        if house is not None:
            all_given_back(house)
            assert (house.server.connections, len(house.sessions)) == (0, 0)

    assert cancel_everywhere(scenario) > 20


@TALKS
def test_left_by_its_client_anywhere(talk: Callable[[House, Client], Awaitable[None]]) -> None:
    async def scenario(sword: Sword) -> None:
        async with open_house(FakeUpstream(mixed), limits=Limits(exchanges=1), timeouts=Timeouts(request=20)) as house:
            client = house.connect()
            with sword():
                await talk(house, client)
            client.leave()
            await trio.sleep(30)  # what a legacy client began may go on, up to its deadline
            all_given_back(house)
            assert (await house.connect().post(modern("quick"))).status == 200

    assert cancel_everywhere(scenario) > 20


def test_a_standing_stream_left_anywhere() -> None:
    async def scenario(sword: Sword) -> None:
        upstream = FakeUpstream(feeding(Feed(note("notifications/subscriptions/acknowledged"))))
        upstream.on_listen = feeding(Feed(note(), message(id="ask", method="roots/list")))
        async with open_house(upstream) as house:
            listening, subscribed = house.connect(), house.connect()
            with sword():
                await (await listening.get()).message()
                await (await subscribed.stream(modern("subscriptions/listen"))).message()
            listening.leave()
            subscribed.leave()
            await wait_all_tasks_blocked()
            all_given_back(house)
            assert house.server.connections == 0

    assert cancel_everywhere(scenario) > 10
