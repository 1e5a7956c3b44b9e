"""The server round the connections: how many, what a bug in one does to the others, and the drain in every state that a connection can be in."""
from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from asgi_apps import Event, Receive, Recorder, Send, answer, trickle
from cancelling import Sword, cancel_everywhere
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import Client, MemoryListener, Wire, open_wire, request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import PeerGone
from shadowproxy.downstream.http1 import PREFACE
from shadowproxy.downstream.http_server import HttpServer

HEAD = b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"


# ---------------------------------------------------- how many
async def test_past_the_limit_a_connection_is_told_to_come_back(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), Limits(connections=2)) as wire:
        first, second = wire.connect(), wire.connect()
        await wait_all_tasks_blocked()
        for number in (1, 2):
            response = await wire.connect().response()
            assert (response.status, response["connection"], wire.server.refused) == (503, "close", number)
            assert "limits.connections" in response.json["error"]["message"]
        assert [(await client.ask()).status for client in (first, second)] == [200, 200]
        assert wire.server.connections == 2
        first.leave()
        await wait_all_tasks_blocked()
        assert wire.server.connections == 1
        assert (await wire.connect().ask()).status == 200


# ---------------------------------------------------- bugs stay where they are
async def crash(scope: Event, receive: Receive, send: Send) -> None:
    """Does what the path says; then it breaks."""
    await trio.lowlevel.checkpoint()
    if scope["path"] == "/begun":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"so far", "more_body": True})
    elif scope["path"] == "/fine":
        return await answer(send)
    elif scope["path"] == "/group":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_break)
    elif scope["path"] == "/gone":
        raise PeerGone("no news")
    elif scope["path"] == "/silent":
        return None
    return await _break()


async def _break() -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("path", ["/", "/group"])
async def test_a_bug_in_one_request_is_logged_told_and_no_concern_of_the_others(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, path: str) -> None:
    async with open_wire(crash) as wire:
        other, client = wire.connect(), wire.connect()
        assert (await other.ask("GET", "/fine")).status == 200
        response = await client.ask("GET", path)
        assert (response.status, response["connection"]) == (500, "close")
        assert await client.closed()
        assert (await other.ask("GET", "/fine")).status == 200
        assert wire.server.connections == 1
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [("ERROR", True)]


async def test_a_bug_within_an_answer_cuts_it_off_and_adds_nothing(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_wire(crash) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET", "/begun"))
        _, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert body == b"6\r\nso far\r\n"
    assert len(caplog.records) == 1


async def test_a_bug_in_a_later_request_does_not_answer_for_an_earlier_one(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_wire(crash) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET", "/fine") + request_bytes("GET", "/"))
        assert [(await client.response("GET")).status for _ in range(2)] == [200, 500]
    assert len(caplog.records) == 1


async def test_a_client_that_has_gone_is_no_news(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_wire(crash) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET", "/gone"))
        assert await client.rest() == b""
    assert caplog.records == []


async def test_an_application_that_says_nothing_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_wire(crash) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET", "/silent"))
        assert await client.rest() == b""


# ---------------------------------------------------- the drain
async def drained(wire: Wire, within: float = 0.01) -> None:
    with trio.fail_after(within):
        await wire.server.drained()


async def test_an_idle_connection_closes_at_once(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder()) as wire:
        fresh, used = wire.connect(), wire.connect()
        assert (await used.ask()).status == 200
        wire.server.drain()
        await drained(wire)
        assert await fresh.closed()
        assert await used.closed()


async def test_an_exchange_under_way_is_answered_and_its_connection_closes(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(before=lambda: trio.sleep(20))) as wire:
        client = wire.connect()
        await client.send(request_bytes() * 2)
        await trio.sleep(1)
        wire.server.drain()
        assert (await client.response())["connection"] == "close"
        assert await client.closed()
        await drained(wire)


@pytest.mark.parametrize("part", [HEAD[:9], HEAD, HEAD + b"ab"], ids=["half a head", "a head", "half a body"])
async def test_a_request_that_is_still_coming_is_served(autojump_clock: MockClock, part: bytes) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(part)
        await wait_all_tasks_blocked()
        wire.server.drain()
        await trio.sleep(5)
        await client.send((HEAD + b"abcd")[len(part) :])
        response = await client.response()
        assert (response.json["size"], response["connection"]) == (4, "close")
        assert await client.closed()
        await drained(wire)


async def test_a_request_that_does_not_come_meets_its_deadline(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=Timeouts(head=10)) as wire:
        client = wire.connect()
        await client.send(HEAD[:9])
        await wait_all_tasks_blocked()
        wire.server.drain()
        assert (await client.response()).status == 408
        await drained(wire)


async def test_an_answer_that_has_begun_ends_whole(autojump_clock: MockClock) -> None:
    async with open_wire(trickle) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET"))
        await trio.sleep(0.5)
        wire.server.drain()
        assert (await client.response("GET")).body == b"one two three"
        assert await client.closed()
        await drained(wire)


async def test_half_a_preface_of_http2_does_not_hold_the_drain_up(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder()) as wire:
        client = wire.connect()
        await client.send(PREFACE[:9])
        await wait_all_tasks_blocked()
        wire.server.drain()
        await client.send(PREFACE[9:])
        assert await client.closed()
        await drained(wire)


async def test_who_comes_during_the_drain_is_turned_away(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder()) as wire:
        wire.server.drain()
        response = await wire.connect().ask()
        assert (response.status, response["connection"]) == (503, "close")
        assert "shutting down" in response.json["error"]["message"]


def standing(words: bytes) -> Callable[[Event, Receive, Send], Awaitable[None]]:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        limit = scope["extensions"]["shadowproxy.limit"]

        async def late(reason: str) -> None:
            await send({"type": "http.response.body", "body": words + reason.encode()})

        limit.limit(60, late, True)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun, ", "more_body": True})
        if scope["path"] == "/standing":
            limit.stand(15, b"")
        await trio.sleep_forever()

    return app


async def test_a_standing_stream_says_goodbye_at_once_and_another_stream_goes_on(autojump_clock: MockClock) -> None:
    async with open_wire(standing(b"bye: ")) as wire:
        stream, other = wire.connect(), wire.connect()
        await stream.send(request_bytes("GET", "/standing"))
        await other.send(request_bytes("GET", "/"))
        await trio.sleep(0.1)
        wire.server.drain()
        assert (await stream.response("GET")).body == b"begun, bye: drain"
        assert await stream.closed()
        assert trio.current_time() < 1
        await trio.sleep(10)
        assert wire.server.connections == 1
        wire.server.cancel("shutdown")
        assert (await other.response("GET")).body == b"begun, bye: shutdown"
        await drained(wire)


async def test_a_stream_that_begins_to_stand_during_the_drain_ends_too(autojump_clock: MockClock) -> None:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        await trio.sleep(5)
        await standing(b"bye: ")(scope, receive, send)

    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET", "/standing"))
        await trio.sleep(1)
        wire.server.drain()
        assert (await client.response("GET")).body == b"begun, bye: drain"


async def test_the_end_of_the_grace_ends_whatever_there_is(autojump_clock: MockClock) -> None:
    """Idle, within a head, within a body, within an exchange that knows no last word, with a client that does not read."""
    async with open_wire(Recorder(before=trio.sleep_forever)) as wire:
        clients = [wire.connect() for _ in range(5)]
        clients[4].stop_reading()
        for client, data in zip(clients, [b"", HEAD[:9], HEAD, request_bytes(), request_bytes()], strict=True):
            await client.send(data)
        await wait_all_tasks_blocked()
        wire.server.cancel("shutdown")
        await drained(wire)
        assert [await client.rest() for client in clients] == [b""] * 5


async def test_everybody_who_waits_for_the_end_is_told(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder()) as wire:
        client = wire.connect()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as waiting:
            for _ in range(3):
                waiting.start_soon(wire.server.drained)
            await wait_all_tasks_blocked()
            client.leave()
        await wire.server.drained()


async def test_the_sweeper_sleeps_while_there_is_nobody(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=Timeouts(idle=10)) as wire:
        for _ in range(2):
            await trio.sleep(1)
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline > 10_000
            assert await wire.connect().rest() == b""


# ---------------------------------------------------- cancelled at every step
def test_cancelled_anywhere_the_server_closes_all_its_connections() -> None:
    async def scenario(sword: Sword) -> None:
        server, listener, clients = HttpServer(Recorder(), Limits(), Timeouts()), MemoryListener(10), list[Client]()
        with sword():
            async with trio.open_nursery() as serving:
                serving.start_soon(trio.serve_listeners, server.serve, [listener])
                serving.start_soon(server.sweep)
                for data in (b"", HEAD, request_bytes()):
                    clients.append(listener.connect())
                    await clients[-1].send(data)
                assert (await clients[2].response()).status == 200
                clients[1].leave()
                server.drain()
                await server.drained()
                serving.cancel_scope.cancel()
        assert server.connections == 0
        for client in clients[:1] + clients[2:]:
            with trio.fail_after(1):
                await client.rest()

    assert cancel_everywhere(scenario) > 20
