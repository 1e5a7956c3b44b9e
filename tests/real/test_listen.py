"""Listening on real sockets: addresses of every kind, bursts, refusals with words, and nothing left open."""
from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from asgi_apps import Recorder
from wires import request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import Connection, SocketConnection
from shadowproxy.downstream.http_server import HttpServer
from shadowproxy.downstream.listen import BURST, CannotListen, Listener, address_of, open_sockets, split_address
from shadowproxy.watch import Watch


@asynccontextmanager
async def listening(*addresses: str) -> AsyncIterator[list[Listener]]:
    watch = Watch()
    listeners = [Listener(sock, watch, 10) for sock in await open_sockets(addresses)]
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()
        watch.close()


def port_of(listener: Listener) -> int:
    port: int = listener.socket.getsockname()[1]
    return port


async def accepted(listener: Listener) -> Connection:
    with trio.fail_after(10):
        return await listener.accept()


# ---------------------------------------------------- addresses
@pytest.mark.parametrize(("text", "host", "port"), [
    ("127.0.0.1:80", "127.0.0.1", 80), ("localhost:0", "localhost", 0), ("[::1]:8080", "::1", 8080), (":3000", "", 3000), ("[::]:1", "::", 1),
])  # fmt: skip
def test_an_address_in_two_parts(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(("address", "shown"), [("127.0.0.1:0", "127.0.0.1:{}"), ("[::1]:0", "[::1]:{}")])
async def test_port_0_takes_a_free_one(address: str, shown: str) -> None:
    async with listening(address) as (listener,):
        port = port_of(listener)
        assert port != 0
        assert (address_of(listener.socket), listener.url) == (shown.format(port), f"http://{shown.format(port)}")
        with socket.create_connection(listener.socket.getsockname()[:2]) as client:
            connection = await accepted(listener)
            assert isinstance(connection, SocketConnection)
            assert connection.peer == client.getsockname()[:2]
            assert (connection.socket.getblocking(), connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == (False, 1)
            connection.abort()


async def test_a_name_is_all_that_it_stands_for_on_one_port() -> None:
    found = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    async with listening("localhost:0") as listeners:
        assert {listener.socket.getsockname()[0] for listener in listeners} == found
        assert len({port_of(listener) for listener in listeners}) == 1


async def test_everywhere_is_both_families_on_one_port() -> None:
    async with listening(":0") as listeners:
        assert {listener.socket.getsockname()[0] for listener in listeners} == {"0.0.0.0", "::"}
        assert len({port_of(listener) for listener in listeners}) == 1


async def test_several_addresses(tmp_path: Path) -> None:
    async with listening("127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/s") as listeners:
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]


# ---------------------------------------------------- refusals
async def test_a_port_in_use_is_refused_in_words_and_nothing_stays_open() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        fds = len(os.listdir("/proc/self/fd"))
        text = f"127.0.0.1:{port_of(listener)}"
        with pytest.raises(CannotListen, match=rf"cannot listen on {text}: Address already in use") as caught:
            await open_sockets(["127.0.0.1:0", "[::1]:0", text, "127.0.0.1:0"])
        assert (caught.value.errno, caught.value.__cause__) == (errno.EADDRINUSE, None)
        assert len(os.listdir("/proc/self/fd")) == fds


async def test_an_address_of_somebody_else_is_refused() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        await open_sockets(["192.0.2.1:0"])


async def test_a_port_is_free_again_right_after_use() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        port = port_of(listener)
        with socket.create_connection(("127.0.0.1", port)):
            (await accepted(listener)).abort()  # it is we who close first: TIME_WAIT
    async with listening(f"127.0.0.1:{port}") as (listener,):
        assert port_of(listener) == port


# ---------------------------------------------------- socket files
async def test_a_socket_file_is_for_its_user_only_and_goes_with_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with listening(f"unix:{path}") as (listener,):
        assert (stat.S_IMODE(path.stat().st_mode), listener.url) == (0o600, f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            connection = await accepted(listener)
            assert connection.peer is None
            connection.abort()
    assert not path.exists()


async def test_a_socket_file_that_a_crash_left_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with listening(f"unix:{path}"):
        with pytest.raises(CannotListen, match="Address already in use"):
            await open_sockets([f"unix:{path}"])
        assert path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotListen, match=f"cannot listen on unix:{path}"):
        await open_sockets([f"unix:{path}"])
    assert path.read_text() == "data"


# ---------------------------------------------------- accepting
async def test_a_burst_is_taken_in_a_few_rounds_and_others_run_in_between() -> None:
    """Trio's own listener takes one connection per scheduler round; ours up to `BURST`, and then lets the others run."""
    count, rounds = 300, 0

    async def tick() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await trio.lowlevel.checkpoint()

    async with listening("127.0.0.1:0") as (listener,):
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(listener.socket.getsockname()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                await trio.lowlevel.checkpoint()
                rounds = 0
                for _ in range(count):
                    (await accepted(listener)).abort()
                nursery.cancel_scope.cancel()
    assert count // BURST <= rounds <= 3 * (count // BURST + 1)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(fd) for fd in os.listdir("/proc/self/fd")), hard))
    spare: list[int] = []
    try:
        while True:
            try:
                spare.append(os.dup(0))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in spare:
            os.close(fd)


async def test_without_descriptors_the_caller_is_told_and_the_client_only_waits() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        with socket.create_connection(listener.socket.getsockname()):
            with no_descriptor_left(), pytest.raises(OSError, match="Too many open files") as caught:
                await accepted(listener)
            assert caught.value.errno == errno.EMFILE  # `trio.serve_listeners` knows it, and tries again later
            (await accepted(listener)).abort()


async def test_a_client_that_has_left_already_holds_nobody_up() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        gone = socket.create_connection(listener.socket.getsockname())
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        with socket.create_connection(listener.socket.getsockname()) as client:
            peers = set()
            while client.getsockname() not in peers:
                connection = await accepted(listener)
                peers.add(connection.peer)
                connection.abort()


@pytest.mark.parametrize("how", ["before", "meanwhile"])
async def test_a_closed_listener_accepts_nobody(how: str) -> None:
    async with listening("127.0.0.1:0") as (listener,), trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        if how == "before":
            await listener.aclose()
            await listener.aclose()
        nursery.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked(0.01)
        listener.close()


# ---------------------------------------------------- the refusals of the server, as a socket's other end sees them
@pytest.mark.parametrize("why", ["limit", "drain"])
async def test_who_is_turned_away_can_read_why_although_its_request_was_not_read(why: str) -> None:
    server = HttpServer(Recorder(), Limits(connections=1), Timeouts())
    async with listening("127.0.0.1:0") as (listener,), trio.open_nursery() as nursery:
        if why == "drain":
            server.drain()
        else:
            occupant = await trio.open_tcp_stream("127.0.0.1", port_of(listener))
            nursery.start_soon(server.serve, await accepted(listener))
        for _ in range(20):
            client = await trio.open_tcp_stream("127.0.0.1", port_of(listener))
            await client.send_all(request_bytes(body=b"x" * 10_000))
            nursery.start_soon(server.serve, await accepted(listener))
            with trio.fail_after(10):
                answer = b""
                while b'"message"' not in answer:
                    part = bytes(await client.receive_some(65536))
                    assert part, answer
                    answer += part
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            await client.aclose()
        if why == "limit":
            await occupant.aclose()


async def test_late_heads_and_bugs_are_told_over_a_socket_too(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("a bug")

    server = HttpServer(crash, Limits(), Timeouts(head=0.3))
    async with listening("127.0.0.1:0") as (listener,), trio.open_nursery() as serving:
        serving.start_soon(server.sweep)
        for data, status in ((b"POST / HT", b"408"), (request_bytes(), b"500")):
            client = await trio.open_tcp_stream("127.0.0.1", port_of(listener))
            serving.start_soon(server.serve, await accepted(listener))
            await client.send_all(data)
            with trio.fail_after(10):
                answer = b"".join([part async for part in client])
            assert answer.startswith(b"HTTP/1.1 " + status)
            await client.aclose()
        serving.cancel_scope.cancel()
    assert len(caplog.records) == 1
