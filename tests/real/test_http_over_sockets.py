"""The HTTP server over real sockets: the kernel's word of a client's leaving, comments that wait for nobody, and framing that survives a full buffer."""
from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from asgi_apps import Event, Receive, Send, answer
from dialogue import legacy, modern
from fakes import FakeUpstream, Feed, after, feeding, hang, note
from programs import until
from wires import posted, request_bytes

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.connection import SocketConnection
from shadowproxy.downstream.http1 import App
from shadowproxy.downstream.http_server import HttpServer
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.server import open_core
from shadowproxy.service import running
from shadowproxy.watch import Watch

COMMENT = b": keep-alive\n\n"


@attrs.frozen
class Served:
    """One connection, served; the client's end of it is a stream."""

    client: trio.SocketStream
    server: HttpServer


@asynccontextmanager
async def serving(app: App, timeouts: Timeouts) -> AsyncIterator[Served]:
    server, watch = HttpServer(app, Limits(), timeouts), Watch()
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    client = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    async with running(watch.run), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, SocketConnection(ours, watch, timeouts.write))
        nursery.start_soon(server.sweep)
        with trio.fail_after(30):
            yield Served(client, server)
        nursery.cancel_scope.cancel()
    await client.aclose()
    watch.close()


@asynccontextmanager
async def endpoint(upstream: FakeUpstream, timeouts: Timeouts = Timeouts()) -> AsyncIterator[Served]:  # noqa: B008 -- frozen
    config, watch = Config(upstream=Upstream(command=("none",)), timeouts=timeouts), Watch()
    async with open_core(config, watch, (), upstream) as (gateway, sessions):
        async with serving(Endpoint(config, gateway, sessions, Origins((), (), ())), timeouts) as served:
            yield served
    watch.close()


async def read_until(client: trio.SocketStream, words: bytes) -> bytes:
    data = b""
    while words not in data:
        part = bytes(await client.receive_some(65536))
        assert part, data
        data += part
    return data


def body_of(chunked: bytes) -> bytes:
    """The payload of a chunked body, each chunk checked for its length and its ends."""
    body, rest = b"", chunked
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        body, rest = body + rest[:length], rest[length + 2 :]
        if not length:
            assert rest == b""
            return body


# ---------------------------------------------------- who leaves
@pytest.mark.parametrize("how", ["close", "half-close", "with bytes unread"])
async def test_a_modern_clients_leaving_cancels(how: str) -> None:
    upstream = FakeUpstream(hang)
    async with endpoint(upstream) as served:
        await served.client.send_all(posted(modern("x")) + (b"POST" if how == "with bytes unread" else b""))
        await until(lambda: upstream.open)
        await (served.client.send_eof() if how == "half-close" else served.client.aclose())
        await until(lambda: upstream.cancelled)
        await served.server.drained()
        assert upstream.open == set()


async def test_a_legacy_clients_leaving_does_not() -> None:
    go = trio.Event()

    async def call(exchange: object) -> Feed:
        await go.wait()
        return Feed(note(), ended=True)

    upstream = FakeUpstream(call)
    async with endpoint(upstream) as served:
        await served.client.send_all(posted(legacy("x")))
        await until(lambda: upstream.open)
        await served.client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (len(upstream.open), upstream.cancelled) == (1, [])
        go.set()
        await served.server.drained()
        assert upstream.cancelled == []


async def test_a_legacy_client_that_only_stops_sending_still_gets_its_answer() -> None:
    async with endpoint(FakeUpstream(after(0.1))) as served:
        await served.client.send_all(posted(legacy("x")))
        await served.client.send_eof()
        assert b'"of": "x"' in await read_until(served.client, b"}}")


async def test_leaving_a_get_stream_is_noticed() -> None:
    upstream = FakeUpstream()
    async with endpoint(upstream) as served:
        await served.client.send_all(request_bytes("GET", accept="text/event-stream"))
        await read_until(served.client, b"\r\n\r\n")
        await served.client.aclose()
        await served.server.drained()
        assert upstream.open == set()


async def test_leaving_after_an_answer_is_nobodys_business() -> None:
    upstream = FakeUpstream()
    async with endpoint(upstream) as served:
        for _ in range(3):
            await served.client.send_all(posted(modern("x")))
            await read_until(served.client, b"}}")
        await served.client.aclose()
        await served.server.drained()
        assert (upstream.cancelled, len(upstream.calls)) == ([], 3)


# ---------------------------------------------------- fairness
async def test_a_client_that_sends_many_requests_at_once_lets_the_others_run() -> None:
    """Neither reading nor writing waits for anything here, so nothing else would."""
    count, rounds = 500, list[int]()

    async def app(scope: Event, receive: Receive, send: Send) -> None:
        await answer(send)
        rounds.append(ticks)

    ticks = 0
    async with serving(app, Timeouts()) as served, trio.open_nursery() as nursery:

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await trio.lowlevel.checkpoint()

        nursery.start_soon(tick)
        await served.client.send_all(request_bytes("GET") * count)
        while len(rounds) < count:
            await served.client.receive_some(65536)
        nursery.cancel_scope.cancel()
    assert rounds[-1] - rounds[0] >= count // 2


# ---------------------------------------------------- comments
async def test_silent_streams_get_comments_over_a_socket() -> None:
    feed = Feed()
    async with endpoint(FakeUpstream(feeding(feed)), Timeouts(keep_alive=0.3)) as served:
        await served.client.send_all(posted(legacy("x", id="a"), connection="close"))
        data = await read_until(served.client, COMMENT)
        feed.put(note())
        data += await read_until(served.client, b"progress")
        data += await read_until(served.client, COMMENT)
        feed.end()
        data += b"".join([part async for part in served.client])
        head, _, chunked = data.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert re.fullmatch(rb"(: keep-alive\n\n)+event: message\ndata: .*\n\n(: keep-alive\n\n)+", body_of(chunked))


async def test_a_comment_that_fits_in_part_only_does_not_break_the_framing() -> None:
    """The client reads nothing for a while, and the buffer is full in the middle of a comment. What follows comes after its other half."""
    comment = b":" + b"x" * 4_000_000 + b"\n\n"
    go = trio.Event()

    async def app(scope: Event, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        scope["extensions"]["shadowproxy.limit"].stand(0.0, comment)
        await go.wait()
        await send({"type": "http.response.body", "body": b"event ", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async with serving(app, Timeouts()) as served:
        await served.client.send_all(request_bytes("GET", connection="close"))
        await until(lambda: [engine for engine in served.server._live if engine.begun])
        (http,) = served.server._live
        for _ in range(3):  # what the sweeper does four times a second
            http.sweep(trio.current_time() + 1)
        go.set()
        data = b"".join([part async for part in served.client])
    body = body_of(data.partition(b"\r\n\r\n")[2])
    assert body == b"begun " + comment + b"event end"

