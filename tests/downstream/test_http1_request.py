"""One request and its response: who gets a body, who is told to go on, and the deadline that an application may ask for."""
from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from asgi_apps import Event, Receive, Recorder, Send, answer, at_once, trickle
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import Events, open_wire, request_bytes

from shadowproxy.config import Limits
from shadowproxy.downstream.http1_request import canned

SECOND = 0.25 + 1e-6
"""The sweeper is late by this much at most."""


# ---------------------------------------------------- responses
async def test_head_has_the_head_of_a_get_and_no_body(autojump_clock: MockClock) -> None:
    async with open_wire(at_once) as wire:
        client = wire.connect()
        await client.send(request_bytes("HEAD") * 2)
        for _ in range(2):
            response = await client.response("HEAD")
            assert (response.status, response["content-length"], response.body) == (200, "4", b"")


async def test_head_of_a_stream_has_no_chunks(autojump_clock: MockClock) -> None:
    async with open_wire(trickle) as wire:
        client = wire.connect()
        await client.send(request_bytes("HEAD", connection="close"))
        assert (await client.rest()).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body_send_none(autojump_clock: MockClock, status: int) -> None:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"never sent"})

    async with open_wire(app) as wire:
        client = wire.connect()
        for _ in range(2):
            response = await client.ask("GET")
            assert (response.status, response.body, response["transfer-encoding"]) == (status, b"", None)


async def test_a_body_of_unknown_length_goes_in_chunks_as_it_comes(autojump_clock: MockClock) -> None:
    async with open_wire(trickle) as wire:
        client = wire.connect()
        for _ in range(2):
            await client.send(request_bytes("GET"))
            began = trio.current_time()
            assert (await client.head("GET"))["transfer-encoding"] == "chunked"
            came = []
            while part := await client.part():
                came.append((part, trio.current_time() - began))
            assert came == [(b"one ", 0), (b"two ", 1), (b"three", 2)]


async def test_a_part_of_nothing_does_not_end_the_chunks(autojump_clock: MockClock) -> None:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"", b"a", b"", b"b"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    async with open_wire(app) as wire:
        assert (await wire.connect().ask("GET")).body == b"ab"


async def test_a_status_that_has_no_name_is_sent(autojump_clock: MockClock) -> None:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        await answer(send, b"", 299)

    async with open_wire(app) as wire:
        assert (await wire.connect().ask("GET")).status == 299


def test_a_canned_refusal_is_a_whole_answer_that_closes() -> None:
    head, _, body = canned(408, "too slow").partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close" % len(body)
    assert body == b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"too slow"}}'


# ---------------------------------------------------- Expect: 100-continue (RFC 9110, 10.1.1)
EXPECTING = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-Continue\r\n\r\n"


async def test_who_waits_for_word_to_go_on_gets_it(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder()) as wire:
        client = wire.connect()
        for _ in range(2):
            await client.send(EXPECTING)
            await wait_all_tasks_blocked()
            await client.send(b"body")
            response = await client.response()
            assert (response.interim, response.status, response.json["size"]) == ((100,), 200, 4)


@pytest.mark.parametrize("data", [EXPECTING + b"body", EXPECTING + b"b", EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0"), EXPECTING.replace(b"expect", b"except")],
                         ids=["the body is here", "it has begun", "HTTP/1.0", "nobody waits"])  # fmt: skip
async def test_who_does_not_wait_is_not_told(autojump_clock: MockClock, data: bytes) -> None:
    async with open_wire(Recorder()) as wire:
        client = wire.connect()
        await client.send(data)
        await wait_all_tasks_blocked()
        await client.send((EXPECTING + b"body")[len(data) :] or b"body"[: 4 if data[-4:] == b"\r\n\r\n" else 0])
        response = await client.response()
        assert (response.interim, response.status) == ((), 200)


async def test_who_waits_is_refused_without_it_when_the_body_is_not_wanted(autojump_clock: MockClock) -> None:
    async with open_wire(at_once, Limits(body=3)) as wire:
        client = wire.connect()
        await client.send(EXPECTING)
        response = await client.response()
        assert (response.interim, response.status) == ((), 413)
    async with open_wire(at_once) as wire:
        client = wire.connect()
        await client.send(EXPECTING)
        response = await client.response()
        assert (response.interim, response.status, response["connection"]) == ((), 200, "close")


# ---------------------------------------------------- bodies
async def test_a_large_body_is_handed_over_in_parts(autojump_clock: MockClock) -> None:
    events: list[Event] = []

    async def app(scope: Event, receive: Receive, send: Send) -> None:
        while not events or events[-1]["more_body"]:
            events.append(await receive())
        await answer(send)

    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes(body=b"x" * 500_000))
        assert (await client.response()).status == 200
    assert b"".join(event["body"] for event in events) == b"x" * 500_000
    assert len(events) > 2


async def test_after_the_body_receive_waits_for_the_clients_leaving(autojump_clock: MockClock) -> None:
    events: list[Event] = []

    async def app(scope: Event, receive: Receive, send: Send) -> None:
        events.extend([await receive(), await receive(), await receive()])

    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes(body=b"{}"))
        await wait_all_tasks_blocked()
        assert events == []
        client.leave()
        await wire.server.drained()
    assert events == [{"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"}, {"type": "http.disconnect"}]


async def test_a_client_that_leaves_within_its_body_is_a_disconnect(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        await wait_all_tasks_blocked()
        client.leave()
        await wire.server.drained()
    assert (app.left, app.seen) == (1, [])


# ---------------------------------------------------- the extension "shadowproxy.limit"
class Limited:
    """Asks for 10 seconds (or what `seconds` says), begins a stream if `streams`, and then does nothing more, or what `then` says."""

    def __init__(self, *, streams: bool = False, seconds: float | None = 10, modern: bool = True, standing: bool = False) -> None:
        self.streams, self.seconds, self.modern, self.standing = streams, seconds, modern, standing
        self.reasons: list[str] = []
        self.cancelled = 0
        self.go = trio.Event()

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        limit = scope["extensions"]["shadowproxy.limit"]

        async def late(reason: str) -> None:
            self.reasons.append(reason)
            if self.streams:
                await send({"type": "http.response.body", "body": b"late"})
            else:
                await answer(send, b"late", 504)

        limit.limit(self.seconds, late, self.modern)
        if self.streams:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            limit.keep_quiet_alive(15, b": quiet\n\n")
        if self.standing:
            limit.stand(15, b": quiet\n\n")
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.streams:
            await send({"type": "http.response.body", "body": b"in time"})
        else:
            await answer(send, b"in time")


async def test_past_the_deadline_the_latecomer_answers_and_the_connection_goes_on(autojump_clock: MockClock) -> None:
    app = Limited()
    async with open_wire(app) as wire:
        client = wire.connect()
        for count in (1, 2):
            began = trio.current_time()
            response = await client.ask()
            assert (response.status, response.body) == (504, b"late")
            assert 10 <= trio.current_time() - began <= 10 + SECOND
            assert (app.reasons, app.cancelled) == (["deadline"] * count, count)
        app.go.set()
        assert (await client.ask()).body == b"in time"


async def test_a_stream_past_its_deadline_is_ended_in_its_own_words(autojump_clock: MockClock) -> None:
    app = Limited(streams=True)
    async with open_wire(app) as wire:
        assert (await wire.connect().ask()).body == b"late"


async def test_an_answer_in_time_is_not_disturbed_later(autojump_clock: MockClock) -> None:
    app = Limited()
    app.go.set()
    async with open_wire(app) as wire:
        client = wire.connect()
        assert (await client.ask()).body == b"in time"
        await trio.sleep(20)
        assert (await client.ask()).body == b"in time"
    assert app.reasons == []


async def test_a_deadline_may_be_pushed_forward(autojump_clock: MockClock) -> None:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        limit = scope["extensions"]["shadowproxy.limit"]

        async def late(reason: str) -> None:
            await answer(send, reason.encode())

        limit.limit(10, late, True)
        for _ in range(3):
            await trio.sleep(9)
            limit.extend(10)
        await trio.sleep(11)

    async with open_wire(app) as wire:
        began = trio.current_time()
        assert (await wire.connect().ask()).body == b"deadline"
        assert 37 <= trio.current_time() - began <= 37 + SECOND


async def test_without_seconds_there_is_no_deadline(autojump_clock: MockClock) -> None:
    app = Limited(seconds=None)
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes())
        await trio.sleep(1000)
        app.go.set()
        assert (await client.response()).body == b"in time"


async def test_a_client_that_leaves_ends_what_it_may_end(autojump_clock: MockClock) -> None:
    app = Limited(modern=True)
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes())
        await wait_all_tasks_blocked()
        client.leave()
        await wire.server.drained()
        assert (app.cancelled, app.reasons) == (1, [])


async def test_a_client_that_left_before_the_limit_was_asked_for(autojump_clock: MockClock) -> None:
    app = Limited(modern=True)
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes())
        client.half_close()
        assert await client.closed()
        assert (app.cancelled, app.reasons, trio.current_time()) == (1, [], 0)


async def test_a_client_that_leaves_does_not_end_what_it_may_not(autojump_clock: MockClock) -> None:
    app = Limited(modern=False)
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes())
        await wait_all_tasks_blocked()
        client.half_close()
        await trio.sleep(5)
        assert app.cancelled == 0
        app.go.set()
        assert (await client.response()).body == b"in time"


# ---------------------------------------------------- silent streams
async def test_a_silent_stream_is_kept_open_by_comments(autojump_clock: MockClock) -> None:
    app = Limited(streams=True, standing=True)
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes("GET"))
        stream = Events(client, await client.head("GET"))
        began, times = trio.current_time(), []
        while stream.comments < 4:
            await stream.more()
            times.append(trio.current_time() - began)
        assert [15 * number <= time <= (15 + SECOND) * number for number, time in enumerate(times, 1)] == [True] * 4
        app.go.set()
        assert await client.part() == b"in time"
        assert await client.part() == b""
        assert (app.cancelled, app.reasons) == (0, [])


async def test_a_stream_that_is_not_silent_has_no_comments(autojump_clock: MockClock) -> None:
    async def app(scope: Event, receive: Receive, send: Send) -> None:
        limit = scope["extensions"]["shadowproxy.limit"]
        limit.limit(1000, trio.sleep, False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        limit.keep_quiet_alive(15, b": quiet\n\n")
        await trio.sleep(60)  # nothing has been sent yet: a comment would come before the head
        for _ in range(5):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await trio.sleep(14)
        await send({"type": "http.response.body"})
        await trio.sleep(60)  # and here after the end

    async with open_wire(app) as wire:
        client = wire.connect()
        assert (await client.ask()).body == b"xxxxx"
        assert (await client.ask()).body == b"xxxxx"


# ---------------------------------------------------- memory
@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("late", [False, True])
async def test_a_request_leaves_no_reference_cycle(autojump_clock: MockClock, late: bool) -> None:
    app = Limited(streams=True)
    if not late:
        app.go.set()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.ask()
        with no_collector():
            for _ in range(50):
                await client.ask(body=b"{}")
            assert gc.collect() == 0
