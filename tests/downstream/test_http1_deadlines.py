"""Nobody waits for ever: heads, bodies and idle connections have deadlines, kept by the sweeper, in virtual time."""
from __future__ import annotations

import pytest
import trio
from asgi_apps import Event as AsgiEvent
from asgi_apps import Receive, Recorder, Send, answer
from trio.testing import MockClock
from wires import Client, open_wire, request_bytes

from shadowproxy.config import Timeouts

TIMES = Timeouts(head=10, body=30, idle=75, write=20)
LATE = 0.25 + 1e-6
"""The sweeper's period."""
HEAD = b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"


async def closing(client: Client) -> tuple[bytes, float]:
    """What still comes, and when the connection was closed, from now."""
    began = trio.current_time()
    rest = await client.rest()
    return rest, trio.current_time() - began


def told(rest: bytes) -> bool:
    return rest.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and b"connection: close" in rest


async def test_an_idle_connection_is_closed_without_a_word(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        rest, after = await closing(wire.connect())
        assert (rest, 75 <= after <= 75 + LATE) == (b"", True)


async def test_each_request_starts_the_wait_for_the_next_anew(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        client = wire.connect()
        for _ in range(3):
            assert (await client.ask()).status == 200
            await trio.sleep(74)
        assert (await client.ask()).status == 200
        rest, after = await closing(client)
        assert (rest, 75 <= after <= 75 + LATE) == (b"", True)


async def test_a_head_that_stops_is_told_so(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        client = wire.connect()
        await trio.sleep(60)  # idle so far
        await client.send(HEAD[:10])
        rest, after = await closing(client)
        assert (told(rest), 10 <= after <= 10 + LATE) == (True, True)


@pytest.mark.parametrize("before", [b"", request_bytes()], ids=["the first", "pipelined behind another"])
async def test_a_trickle_does_not_push_the_deadline_of_a_head(autojump_clock: MockClock, before: bytes) -> None:
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        client = wire.connect()
        await client.send(before + HEAD[:1])
        if before:
            assert (await client.response()).status == 200
        began = trio.current_time()
        for byte in HEAD[1:]:
            await trio.sleep(3)
            await client.send(bytes([byte]))
        assert told(await client.rest())
        assert trio.current_time() - began >= 10
        assert wire.server.connections == 0


async def test_a_pipelined_half_of_a_head_has_a_heads_deadline_and_not_an_idle_one(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        client = wire.connect()
        await client.send(request_bytes() + HEAD[:20])
        assert (await client.response()).status == 200
        rest, after = await closing(client)
        assert (told(rest), 10 <= after <= 10 + LATE) == (True, True)


async def test_a_body_that_stops_is_told_so(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app, timeouts=TIMES) as wire:
        client = wire.connect()
        await client.send(HEAD + b"a" * 50)
        rest, after = await closing(client)
        assert (told(rest), 30 <= after <= 30 + LATE) == (True, True)
        assert (app.left, app.seen) == (0, [])  # the application is cancelled: it is the server that has left, not the client
        assert wire.server.connections == 0


async def test_a_trickle_does_not_push_the_deadline_of_a_body(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app, timeouts=TIMES) as wire:
        client = wire.connect()
        began = trio.current_time()
        await client.send(HEAD)
        for _ in range(11):
            await trio.sleep(2.9)
            await client.send(b"a")
        rest, _ = await closing(client)
        assert (told(rest), trio.current_time() - began < 32, app.seen) == (True, True, [])


async def test_a_body_in_time_leaves_no_deadline_behind(autojump_clock: MockClock) -> None:
    app = Recorder(before=lambda: trio.sleep(300))
    async with open_wire(app, timeouts=TIMES) as wire:
        client = wire.connect()
        await client.send(HEAD)
        for _ in range(10):
            await trio.sleep(2.9)
            await client.send(b"a" * 10)
        assert (await client.response()).json["size"] == 100


async def test_an_application_has_all_the_time_that_it_takes(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(before=lambda: trio.sleep(1000)), timeouts=TIMES) as wire:
        client = wire.connect()
        assert (await client.ask(body=b"x")).status == 200
        assert (await client.ask(body=b"x")).status == 200


async def test_a_client_that_does_not_read_is_dropped_after_the_deadline_of_a_write(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        client = wire.connect()
        client.stop_reading()
        began = trio.current_time()
        await client.send(request_bytes())
        await trio.sleep(1)
        await wire.server.drained()
        assert trio.current_time() - began == pytest.approx(20, abs=0.01)


async def test_a_client_that_does_not_read_cannot_hold_up_its_own_deadline(autojump_clock: MockClock) -> None:
    """The late word cannot be written either: both together are bounded."""

    async def app(scope: AsgiEvent, receive: Receive, send: Send) -> None:
        async def late(reason: str) -> None:
            await answer(send, b"late")

        scope["extensions"]["shadowproxy.limit"].limit(10, late, False)
        await trio.sleep_forever()

    async with open_wire(app, timeouts=TIMES) as wire:
        client = wire.connect()
        client.stop_reading()
        await client.send(request_bytes())
        await trio.sleep(1)
        await wire.server.drained()
        assert trio.current_time() <= 10 + 20 + 2 * LATE


async def test_an_answer_in_time_may_be_read_past_the_deadline_of_its_exchange(autojump_clock: MockClock) -> None:
    async def app(scope: AsgiEvent, receive: Receive, send: Send) -> None:
        async def late(reason: str) -> None:
            await answer(send, b"late")

        scope["extensions"]["shadowproxy.limit"].limit(10, late, False)
        await trio.sleep(9)
        await answer(send, b"in time")

    async with open_wire(app, timeouts=TIMES) as wire:
        client = wire.connect()
        client.stop_reading()
        await client.send(request_bytes())
        await trio.sleep(15)
        client.read_on()
        assert (await client.response()).body == b"in time"
        assert (await client.ask()).body == b"in time"


async def test_the_last_word_is_waited_for_briefly_only(autojump_clock: MockClock) -> None:
    """After an answer that closes, a client that keeps its end open keeps nothing of ours."""
    async with open_wire(Recorder(), timeouts=TIMES) as wire:
        client = wire.connect()
        began = trio.current_time()
        assert (await client.ask(connection="close")).status == 200
        await wire.server.drained()
        assert trio.current_time() - began <= 1
