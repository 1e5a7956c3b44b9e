"""What a client reads that is refused before its request was read: the refusal, and not a reset. Only a kernel can tell."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio
from asgi_apps import Recorder
from programs import until
from wires import request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.downstream import http_server
from shadowproxy.downstream.http_server import HttpServer
from shadowproxy.downstream.listen import Listener, open_sockets
from shadowproxy.watch import Watch


@attrs.frozen
class Port:
    server: HttpServer
    number: int

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.number)


@asynccontextmanager
async def serving(limits: Limits, timeouts: Timeouts | None = None) -> AsyncIterator[Port]:
    (sock,) = await open_sockets(["127.0.0.1:0"])
    watch, server = Watch(), HttpServer(Recorder(), limits, timeouts or Timeouts())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            nursery.start_soon(server.sweep)
            nursery.start_soon(trio.serve_listeners, server.serve, [Listener(sock, watch, 10)])
            with trio.fail_after(30):
                yield Port(server, sock.getsockname()[1])
            nursery.cancel_scope.cancel()
    finally:
        watch.close()


async def answer(stream: trio.SocketStream) -> bytes:
    """All that comes. A reset raises `BrokenResourceError`."""
    data = b""
    while part := await stream.receive_some(65536):
        data += part
    return data


BIG = request_bytes(body=b"x" * 2_000_000)


@pytest.mark.parametrize("late", [False, True], ids=["sent at once", "sent while the refusal is on its way"])
async def test_who_is_turned_away_with_a_request_on_its_way_reads_why(late: bool) -> None:
    async with serving(Limits(connections=1)) as port, await port.connect() as first:
        await until(lambda: port.server.connections == 1)
        for size in (100, len(BIG)):
            stream = await port.connect()
            async with stream:
                if late:
                    await until(lambda: port.server.refused)
                await stream.send_all(BIG[:size])
                assert (await answer(stream)).startswith(b"HTTP/1.1 503 ")
        await first.send_all(request_bytes())
        assert (await first.receive_some(65536)).startswith(b"HTTP/1.1 200 ")


async def test_who_sends_too_much_reads_why() -> None:
    async with serving(Limits(body=1000)) as port, await port.connect() as stream:
        await stream.send_all(BIG)
        assert (await answer(stream)).startswith(b"HTTP/1.1 413 ")


async def test_whose_request_stops_and_goes_on_too_late_reads_why() -> None:
    async with serving(Limits(), Timeouts(body=0.3)) as port, await port.connect() as stream:
        await stream.send_all(BIG[:1000])
        assert (await stream.receive_some(20)).startswith(b"HTTP/1.1 408 ")
        await stream.send_all(BIG[1000:200_000])
        assert b"did not arrive in time" in await answer(stream)


async def test_those_turned_away_hold_nothing_for_long_and_no_more_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """They neither leave nor send; past a number of them nobody is waited for at all."""
    monkeypatch.setattr(http_server, "TURNING_AWAY", 2)
    async with serving(Limits(connections=1)) as port:
        async with await port.connect(), AsyncExitStack() as clients:
            await until(lambda: port.server.connections == 1)
            others = [await clients.enter_async_context(await port.connect()) for _ in range(5)]
            await until(lambda: port.server.refused == 5)
            assert sorted([(await answer(other))[:12] for other in others]) == [b"", b"", b"", b"HTTP/1.1 503", b"HTTP/1.1 503"]
