"""Clients and servers on real sockets that reset at each byte, close one half, take their time, flood, or do not read. Others never notice."""
from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trio
from programs import until

from shadowproxy import Config, Limits, Proxy, Timeouts, Upstream, open_proxy
from shadowproxy.connection import SocketConnection
from shadowproxy.downstream.http_server import SWEEP
from shadowproxy.watch import Watch

Behaviour: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]
Engine: TypeAlias = Literal["native", "hypercorn"]
PATIENCE = 20.0
BODY = b'{"jsonrpc":"2.0","id":7,"method":"prompts/list"}'
MODERN_BODY = b'{"jsonrpc":"2.0","id":7,"method":"prompts/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
HEAD = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
MODERN_HEAD = HEAD + b"mcp-protocol-version: 2026-07-28\r\nmcp-method: prompts/list\r\n"
GET = b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"
STATUS = b"HTTP/1.1 404"
REPLY = b'{"jsonrpc":"2.0","id":7,"result":{}}'
NOTE = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%b"}}\n\n'
OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(REPLY) + REPLY
EVENTS = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
engines = pytest.mark.parametrize("engine", ["native", "hypercorn"])


def whole(head: bytes = HEAD, body: bytes = BODY) -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


REQUEST, MODERN = whole(), whole(MODERN_HEAD, MODERN_BODY)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def answering(stream: trio.SocketStream) -> None:
    """A good server: one answer a request."""
    waiting = b""
    async for data in stream:
        waiting += data
        while BODY in waiting or MODERN_BODY in waiting:
            waiting = waiting.partition(MODERN_BODY if MODERN_BODY in waiting else BODY)[2]
            await stream.send_all(JSON)


def reset(stream: trio.SocketStream) -> None:
    """Leave without the courtesy of an end."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@attrs.define
class Front:
    """A proxy on real sockets, before a server whose every connection behaves as `behaviour` says."""

    proxy: Proxy
    behaviour: Behaviour
    seen: list[trio.SocketStream] = attrs.field(factory=list)
    open: int = 0

    async def connect(self) -> trio.SocketStream:
        host, port = self.proxy.addresses[0].removeprefix("http://").removesuffix("/mcp").split(":")
        return await trio.open_tcp_stream(host, int(port))

    async def serve(self, stream: trio.SocketStream) -> None:
        self.seen.append(stream)
        self.open += 1
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.behaviour(stream)
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    async def ask(self, request: bytes = REQUEST) -> bytes:
        """One request on a connection of its own, and all that comes back until there is a whole answer or an end."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await answer_on(stream)

    async def others_are_served(self) -> None:
        with trio.fail_after(PATIENCE):
            assert (await self.ask(GET)).startswith(b"HTTP/1.1 404")

    async def settles(self) -> None:
        """Nothing is held for anybody any more."""
        await until(lambda: {self.proxy.statistics()[name] for name in ("exchanges", "connections", "pool_leased")} == {0})


async def answer_on(stream: trio.SocketStream) -> bytes:
    """An answer with a length, or what there is of it."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        if end and b"content-length: %d" % len(body) in head:
            return data
        try:
            part = bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            part = b""
        if not part:
            return data
        data += part


@asynccontextmanager
async def front(behaviour: Behaviour = answering, engine: Engine = "native", **settings: Any) -> AsyncIterator[Front]:
    async with trio.open_nursery() as servers:
        async def serve(stream: trio.SocketStream) -> None:
            await found.serve(stream)

        found: Front
        listeners = await servers.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp"
        timeouts = settings.pop("timeouts", Timeouts())
        async with open_proxy(Config(listen=("127.0.0.1:0",), upstream=Upstream(url=url), http_engine=engine, timeouts=timeouts, **settings)) as proxy:
            found = Front(proxy, behaviour)
            with trio.fail_after(3 * PATIENCE):
                yield found
        servers.cancel_scope.cancel()


# ---------------------------------------------------- clients
@engines
@pytest.mark.parametrize("request_", [REQUEST, MODERN], ids=["legacy", "modern"])
async def test_clients_that_reset_at_each_byte(engine: Engine, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with front(engine=engine) as here:
        for size in range(len(request_) + 1):
            stream = await here.connect()
            await stream.send_all(request_[:size])
            reset(stream)
        await here.others_are_served()
        await here.settles()
    assert "a bug of shadowproxy" not in caplog.text


@engines
async def test_clients_that_end_at_each_byte(engine: Engine) -> None:
    async with front(engine=engine) as here:
        for size in range(len(REQUEST)):
            async with await here.connect() as stream:
                await stream.send_all(REQUEST[:size])
                await stream.send_eof()
                assert b" 200 " not in await answer_on(stream)
        await here.others_are_served()
        await here.settles()
        assert here.seen == [], "no upstream was asked by half a request"


async def test_a_closed_half_leaves_a_legacy_client_its_answer_and_is_the_end_of_a_modern_one() -> None:
    go = trio.Event()

    async def slowly(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await go.wait()
        await answering_one(stream)

    async with front(slowly) as here:
        async with await here.connect() as legacy, await here.connect() as modern:
            for stream, request in ((legacy, REQUEST), (modern, MODERN)):
                await stream.send_all(request)
                await stream.send_eof()
            await until(lambda: here.proxy.statistics()["exchanges"] == 1)
            go.set()
            assert (await answer_on(legacy)).endswith(REPLY)
            assert await answer_on(modern) == b""
        await here.settles()


async def answering_one(stream: trio.SocketStream) -> None:
    await stream.send_all(JSON)
    await stream.receive_some()


@pytest.mark.parametrize(("start", "rest", "status"), [
    (b"", HEAD + b"x-a: b\r\n" * 1000, b"408"),
    (b"P", b"", b"408"),
    (HEAD, b"x-a: b\r\n" * 1000, b"408"),
    (HEAD + b"content-length: 1000\r\n\r\n", b" " * 1000, b"408"),
    (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 1000, b"408"),
], ids=["head", "first byte", "fields", "body", "chunks"])  # fmt: skip
async def test_a_client_that_takes_its_time_is_told_so(start: bytes, rest: bytes, status: bytes) -> None:
    """A byte at a time does not push the deadline forward."""
    limit = 0.5
    async with front(timeouts=Timeouts(head=limit, body=limit)) as here:
        async with await here.connect() as stream, trio.open_nursery() as nursery:
            await stream.send_all(start)
            began = trio.current_time()

            async def trickle() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    for place in range(len(rest)):
                        await stream.send_all(rest[place : place + 1])
                        await trio.sleep(0.01)

            nursery.start_soon(trickle)
            answer = await answer_on(stream)
            assert answer.split()[1:2] in ([status], []), answer  # a client that still sends may see a reset instead
            assert limit <= trio.current_time() - began < limit + SWEEP + 3
            nursery.cancel_scope.cancel()
        await here.settles()


async def test_slow_clients_keep_others_out_for_no_longer_than_their_deadline() -> None:
    async with front(limits=Limits(connections=20), timeouts=Timeouts(head=1)) as here:
        slow = [await here.connect() for _ in range(20)]
        for stream in slow:
            await stream.send_all(b"POST")
        await until(lambda: here.proxy.statistics()["connections"] == 20)
        assert (await here.ask(GET)).startswith(b"HTTP/1.1 503")
        await until(lambda: here.proxy.statistics()["connections"] == 0)
        await here.others_are_served()
        for stream in slow:
            await trio.aclose_forcefully(stream)


@engines
async def test_a_client_that_floods_and_does_not_read_is_not_read_either(engine: Engine) -> None:
    """What it can send is bounded; once it reads, it gets all of it, in order."""
    async with front(engine=engine, timeouts=Timeouts(write=PATIENCE)) as here:
        async with await here.connect() as stream:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            batch, sent = GET * 200, 0
            with trio.move_on_after(PATIENCE) as waiting:
                while not waiting.cancelled_caught:
                    with trio.move_on_after(1) as blocked:
                        await stream.send_all(batch)
                        sent += 1
                    if blocked.cancelled_caught:
                        break
            assert blocked.cancelled_caught, f"{sent * len(batch)} bytes were taken"
            await here.others_are_served()
            answers, end = 0, b""
            while answers < sent * 200:
                data = end + bytes(await stream.receive_some())
                assert len(data) > len(end)
                answers, end = answers + data.count(STATUS), data[-len(STATUS) + 1 :]
        await here.settles()


async def test_a_client_that_does_not_read_its_answer_loses_it_after_the_write_deadline() -> None:
    big = b'{"jsonrpc":"2.0","id":7,"result":"%b"}' % (b"x" * 20_000_000)

    async def large(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(OK + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(big) + big)
        await stream.receive_some()

    async with front(large, timeouts=Timeouts(write=1)) as here:
        async with await here.connect() as stream:
            await stream.send_all(REQUEST)
            await until(lambda: here.proxy.statistics()["exchanges"] == 1)
            await here.others_are_served()
            await here.settles()


# ---------------------------------------------------- servers
async def test_servers_that_reset_or_end_at_each_byte_of_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    places = iter([(size, how) for size in range(len(JSON)) for how in (reset, None)])

    async def stopping(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        size, how = next(places)
        await stream.send_all(JSON[:size])
        if how is not None:
            how(stream)

    async with front(stopping) as here:
        for _ in range(2 * len(JSON)):
            answer = await here.ask()
            assert answer.startswith(b"HTTP/1.1 502"), answer
            assert b'"id":7' in answer
        here.behaviour = answering
        assert (await here.ask()).endswith(REPLY)
        await here.settles()
    assert "a bug of shadowproxy" not in caplog.text


async def drip(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    while True:
        for place in range(len(EVENTS)):
            await stream.send_all(EVENTS[place : place + 1])
            await trio.sleep(0.02)
        await stream.send_all(b"0\r\n\r\n")


async def silent(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def deaf(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def dripping_comments(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(EVENTS)
    while True:
        await stream.send_all(chunk(b":\n"))
        await trio.sleep(0.02)


@pytest.mark.parametrize("behaviour", [drip, silent, deaf, dripping_comments])
async def test_a_server_that_takes_its_time_is_awaited_until_the_deadline(behaviour: Behaviour) -> None:
    async with front(behaviour, timeouts=Timeouts(request=0.7)) as here:
        began = trio.current_time()
        async with await here.connect() as stream:
            await stream.send_all(REQUEST)
            data = b""
            while b"1004" not in data:
                part = bytes(await stream.receive_some())
                assert part, data
                data += part
        assert data.startswith((b"HTTP/1.1 504", b"HTTP/1.1 200"))
        assert 0.7 <= trio.current_time() - began < 0.7 + SWEEP + 3
        await here.settles()


async def test_a_server_that_does_not_read_a_large_request_is_given_up() -> None:
    body = b'{"jsonrpc":"2.0","id":7,"method":"prompts/list","params":{"a":"%b"}}' % (b"x" * 9_000_000)
    async with front(deaf, timeouts=Timeouts(write=0.5)) as here:
        assert b'"code":1003' in await here.ask(whole(body=body))
        await here.settles()


async def test_a_server_that_floods_is_read_no_faster_than_its_client_reads() -> None:
    """Nothing piles up between them, and both are free again when the client leaves."""
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some()
        await stream.send_all(EVENTS)
        event = chunk(NOTE % (b"x" * 60_000))
        while True:
            await stream.send_all(event)
            sent += len(event)

    async with front(flood, timeouts=Timeouts(write=PATIENCE)) as here:
        async with await here.connect() as stream:
            await stream.send_all(MODERN)
            last = -1
            while sent != last:  # until the buffers of the kernel are full
                last = sent
                await trio.sleep(0.5)
            assert 0 < sent < 64 << 20
            await here.others_are_served()
        await here.settles()
        await until(lambda: here.open == 0)


async def test_what_a_server_says_unasked_answers_nobody() -> None:
    async def talkative(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(JSON + JSON.replace(b"{}", b'"stolen"').replace(b"36", b"42"))
        await stream.receive_some()

    async with front(talkative) as here:
        for _ in range(20):
            assert (await here.ask()).endswith(REPLY)
        assert len(here.seen) == 20, "each on a connection of its own, because none is clean"
        await here.settles()


# ---------------------------------------------------- a connection by itself
async def test_an_aborted_connection_waits_for_nobody_elses_socket() -> None:
    """The kernel gives its number to the next one."""
    watch = Watch()
    one, other = socket.socketpair()
    one.setblocking(False)
    connection = SocketConnection(one, watch, 1)
    number = one.fileno()
    connection.abort()
    next_one = os.dup(other.fileno())
    assert next_one == number
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.wait_writable, next_one)
        with trio.fail_after(PATIENCE):
            assert await connection.read() == b""
    os.close(next_one)
    other.close()
    watch.close()
