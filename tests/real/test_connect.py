"""Connections to real servers: plain, TLS, unix sockets; what is said when there is none; and that nothing is left of a failed attempt."""
from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from dialogue import modern
from programs import PATIENCE, until

from shadowproxy.config import Config, Upstream
from shadowproxy.connection import Connection, SocketConnection, StreamConnection
from shadowproxy.errors import UpstreamUnreachable
from shadowproxy.service import running
from shadowproxy.upstream.connect import connector
from shadowproxy.upstream.http import HttpUpstream
from shadowproxy.watch import Watch
from shadowproxy.wire.jsonrpc import Message

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
WRITE = 5.0


async def echo(stream: trio.abc.Stream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data.upper())


async def hold(stream: trio.abc.Stream) -> None:
    """Says nothing, and reads until the client leaves."""
    async with stream:
        async for _ in stream:
            pass


@asynccontextmanager
async def server(handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port, with all of its connections gone at the end."""
    async def guarded(stream: trio.abc.Stream) -> None:
        try:
            await handler(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        port: int = listeners[0].socket.getsockname()[1]
        serving: list[Any] = list(listeners if tls is None else [trio.SSLListener(listener, tls, https_compatible=True) for listener in listeners])
        nursery.start_soon(partial(trio.serve_listeners, guarded, serving))
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def watched() -> AsyncIterator[Watch]:
    watch = Watch()
    try:
        async with running(watch.run):
            yield watch
    finally:
        watch.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def theirs(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def ours(authority: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return context


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def talk(connection: Connection) -> None:
    """A word each way, and the end."""
    with trio.fail_after(PATIENCE):
        await connection.write(b"hello")
        assert await connection.read() == b"HELLO"
        assert not connection.gone
        connection.abort()
        assert await connection.read() == b""


async def refusal(url: str, watch: Watch, context: ssl.SSLContext | None = None) -> str:
    with trio.fail_after(PATIENCE), pytest.raises(UpstreamUnreachable) as caught:
        await connector(url, watch, WRITE, context)()
    return caught.value.message


# --- plain

@pytest.mark.parametrize(("host", "where"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("::1", "[::1]")])
async def test_plain_by_address_and_by_name(host: str, where: str) -> None:
    async with watched() as watch, server(echo, host) as port:
        connection = await connector(f"http://{where}:{port}/mcp", watch, WRITE)()
        assert isinstance(connection, SocketConnection)
        assert connection.peer is not None
        assert connection.peer[1] == port
        await talk(connection)
        assert len(watch) == 0


@pytest.mark.parametrize("where", ["127.0.0.1", "[::1]", "localhost"])
async def test_nobody_there(where: str) -> None:
    async with watched() as watch:
        url = f"http://{where}:{free_port()}/mcp"
        assert await refusal(url, watch) == f"no connection to {url}: Connection refused; is the server up, and is the address right?"


async def test_no_such_name() -> None:
    async with watched() as watch:
        url = "http://no-such-host.invalid:80/mcp"
        said = await refusal(url, watch)
        assert said.startswith(f"no connection to {url}: ")
        assert "is the address right?" in said


async def test_a_server_that_leaves_is_noticed_without_a_read() -> None:
    async def leave(stream: trio.abc.Stream) -> None:
        await stream.aclose()

    async with watched() as watch, server(leave) as port:
        connection = await connector(f"http://127.0.0.1:{port}/", watch, WRITE)()
        await until(lambda: connection.gone)
        assert not connection.quiet()
        connection.abort()


async def test_what_comes_unasked_is_seen_waiting() -> None:
    async def blurt(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await hold(stream)

    async with watched() as watch, server(hold) as quiet, server(blurt) as loud:
        silent = await connector(f"http://127.0.0.1:{quiet}/", watch, WRITE)()
        noisy = await connector(f"http://127.0.0.1:{loud}/", watch, WRITE)()
        await until(lambda: not noisy.quiet())
        assert silent.quiet()
        for connection in (silent, noisy):
            connection.abort()


# --- TLS

@pytest.mark.parametrize(("host", "where"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("::1", "[::1]")])
async def test_tls_with_a_certificate_that_we_trust(authority: trustme.CA, host: str, where: str) -> None:
    async with watched() as watch, server(echo, host, theirs(authority, where.strip("[]"))) as port:
        connection = await connector(f"https://{where}:{port}/mcp", watch, WRITE, ours(authority))()
        assert isinstance(connection, StreamConnection)
        await talk(connection)
        assert connection.gone


async def test_a_tls_server_that_leaves_is_noticed_without_a_read(authority: trustme.CA) -> None:
    async def leave(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with watched() as watch, server(leave, tls=theirs(authority, "127.0.0.1")) as port:
        connection = await connector(f"https://127.0.0.1:{port}/", watch, WRITE, ours(authority))()
        await connection.write(b"x")
        await until(lambda: connection.gone)
        assert not connection.quiet()
        connection.abort()


@pytest.mark.parametrize(("trusted", "name"), [(False, "127.0.0.1"), (True, "elsewhere.test")])
async def test_a_certificate_that_will_not_do(authority: trustme.CA, trusted: bool, name: str) -> None:
    async with watched() as watch, server(echo, tls=theirs(authority, name)) as port:
        url = f"https://127.0.0.1:{port}/mcp"
        said = await refusal(url, watch, ours(authority if trusted else None))
        assert said.startswith(f"no TLS connection to {url}: ")
        assert "certificate verify failed" in said
        assert said.endswith("; check its certificate and who issued it")
        assert len(watch) == 0


async def test_a_server_that_does_not_speak_tls(authority: trustme.CA) -> None:
    async def plain(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def hang_up(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()

    for handler in (plain, hang_up):
        async with watched() as watch, server(handler) as port:
            assert "no TLS connection to" in await refusal(f"https://127.0.0.1:{port}/mcp", watch, ours(authority))


async def test_cancelled_in_the_handshake_nothing_is_left(authority: trustme.CA) -> None:
    left = trio.Event()

    async def silent(stream: trio.abc.Stream) -> None:
        await hold(stream)
        left.set()

    async with watched() as watch, server(silent) as port:
        with trio.move_on_after(0.2) as scope:
            await connector(f"https://127.0.0.1:{port}/mcp", watch, WRITE, ours(authority))()
        assert scope.cancelled_caught
        with trio.fail_after(PATIENCE):
            await left.wait()
        assert len(watch) == 0


# --- unix sockets

async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "server.sock")
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with sock:
        await sock.bind(path)
        sock.listen()
        async with watched() as watch, trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, echo, [trio.SocketListener(sock)]))
            await talk(await connector(f"unix:{path}", watch, WRITE)())
            nursery.cancel_scope.cancel()


async def test_no_unix_socket_there(tmp_path: Path) -> None:
    async with watched() as watch:
        said = await refusal(f"unix:{tmp_path}/none", watch)
        assert said == f"no connection to unix:{tmp_path}/none: No such file or directory; is the server up, and is the path right?"


# --- an upstream on them

@pytest.mark.parametrize("secure", [False, True])
async def test_an_idle_connection_that_the_server_closed_is_not_lent_again(authority: trustme.CA, secure: bool) -> None:
    answer = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n{"jsonrpc":"2.0","id":1,"result":{}}'

    async def once(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    context = theirs(authority, "127.0.0.1") if secure else None
    async with watched() as watch, server(once, tls=context) as port:
        url = f"http{'s' if secure else ''}://127.0.0.1:{port}/mcp"
        connections: list[Connection] = []

        async def connect() -> Connection:
            connections.append(await connector(url, watch, WRITE, ours(authority))())
            return connections[-1]

        upstream = HttpUpstream(Config(upstream=Upstream(url=url)), connect)
        async with running(upstream.run):
            for _ in range(3):
                with trio.fail_after(PATIENCE), modern("tools/list") as exchange:
                    assert isinstance(await upstream.call(exchange), Message)
                await until(lambda: all(connection.gone for connection in connections))
            assert len(connections) == 3
