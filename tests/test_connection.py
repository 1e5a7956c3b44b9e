"""Connections: what both kinds promise, over socket pairs and over memory streams; and what only sockets do. Real time, because of the sockets."""
from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing
from programs import until

from shadowproxy.connection import Connection, PeerGone, SocketConnection, StreamConnection, peer_of, prepare
from shadowproxy.watch import Watch

MUCH = bytes(range(256)) * 16_384  # 4 MiB: more than the kernel takes at once
PATIENCE = 0.2
"""Seconds of the write deadline, where it is to pass."""


@attrs.frozen
class Pair:
    """Our connection and the peer's end."""

    ours: Connection
    peer: trio.abc.HalfCloseableStream


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield watch
        nursery.cancel_scope.cancel()
    watch.close()


@pytest.fixture
def connect(watch: Watch) -> Callable[[float], tuple[SocketConnection, trio.SocketStream, socket.socket]]:
    def pair(write_timeout: float) -> tuple[SocketConnection, trio.SocketStream, socket.socket]:
        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        return SocketConnection(one, watch, write_timeout), trio.SocketStream(trio.socket.from_stdlib_socket(other)), one

    return pair


Connect = Callable[[float], tuple[SocketConnection, trio.SocketStream, socket.socket]]


@pytest.fixture(params=["socket", "memory"])
async def pair(request: pytest.FixtureRequest, connect: Connect) -> AsyncIterator[Pair]:
    if request.param == "socket":
        ours, peer, _ = connect(10)
        yield Pair(ours, peer)
        ours.abort()
        await peer.aclose()
    else:
        left, right = trio.testing.memory_stream_pair()
        yield Pair(StreamConnection(left, 10), right)


async def all_of(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    with suppress(trio.BrokenResourceError):
        while part := await stream.receive_some(65536):
            data += part
    return bytes(data)


# ---------------------------------------------------- both kinds
async def test_bytes_go_both_ways_until_the_peer_has_finished(pair: Pair) -> None:
    await pair.peer.send_all(b"hello")
    assert await pair.ours.read() == b"hello"
    await pair.ours.write(b"hi")
    assert await pair.peer.receive_some(10) == b"hi"
    await pair.peer.send_eof()
    assert await pair.ours.read() == b""
    await pair.ours.write(b"still here")
    assert await pair.peer.receive_some(10) == b"still here"


async def test_much_is_written_whole(pair: Pair) -> None:
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await all_of(pair.peer))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await pair.ours.write(MUCH)
        await pair.ours.write(b"the end")
        pair.ours.abort()
    assert received == [MUCH + b"the end"]


async def test_aborting_wakes_the_reader_and_is_final(pair: Pair) -> None:
    read: list[bytes] = []

    async def reading() -> None:
        read.append(await pair.ours.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading)
        await trio.testing.wait_all_tasks_blocked(0.01)
        pair.ours.abort()
    pair.ours.abort()
    await pair.ours.aclose()
    assert (read, await pair.ours.read(), await all_of(pair.peer)) == ([b""], b"", b"")
    with pytest.raises(PeerGone):
        await pair.ours.write(b"nobody")
    assert not pair.ours.write_nowait(b"nobody")
    assert not pair.ours.quiet()


async def test_writing_to_a_peer_that_has_left(pair: Pair) -> None:
    await pair.peer.aclose()
    with pytest.raises(PeerGone, match="closed"):
        for _ in range(3):  # the first may still find room in the kernel
            await pair.ours.write(MUCH)


async def test_finishing_lets_the_peer_read_all_and_does_not_wait_for_it_long(pair: Pair) -> None:
    await pair.ours.write(b"the end")
    began = trio.current_time()
    with trio.fail_after(3):
        await pair.ours.finish()
    assert trio.current_time() - began < 2
    assert await all_of(pair.peer) == b"the end"
    pair.ours.abort()
    await pair.ours.finish()


async def test_finishing_reads_on_for_a_while_and_so_much_only(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what the peer still sends would make the kernel take the last words back; a peer that sends without end is not heard out."""
    monkeypatch.setattr("shadowproxy.connection.LINGER_BYTES", 1_000_000)
    ours, peer, _ = connect(10)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await peer.send_all(b"x" * 50_000)
                sent += 50_000

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await ours.write(b"enough")
        with trio.fail_after(10):
            await ours.finish()
        assert 900_000 <= sent <= 3_000_000
        assert await peer.receive_some(10) == b"enough"
        ours.abort()
        await peer.aclose()


async def test_finishing_sends_what_is_still_unsent(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    assert ours.write_nowait(MUCH)  # a part of it
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await all_of(peer))
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await ours.finish()
        ours.abort()
    assert received == [MUCH]


def test_memory_has_no_address() -> None:
    left, _ = trio.testing.memory_stream_pair()
    assert StreamConnection(left, 1).peer is None


# ---------------------------------------------------- a peer that does not read
async def test_a_peer_that_does_not_read_is_given_up_after_the_deadline(connect: Connect) -> None:
    ours, peer, sock = connect(PATIENCE)
    began = trio.current_time()
    with pytest.raises(PeerGone, match=r"did not read for 0\.2 s"):
        await ours.write(MUCH)
    assert PATIENCE <= trio.current_time() - began < PATIENCE + 2
    assert sock.fileno() == -1
    await peer.aclose()


async def test_the_same_over_a_stream() -> None:
    left, right = trio.testing.lockstep_stream_pair()
    ours = StreamConnection(left, PATIENCE)
    with pytest.raises(PeerGone, match=r"did not read for 0\.2 s"):
        await ours.write(b"anything")
    assert ours.gone
    assert (await all_of(right))[len(b"anything") :] == b""


@pytest.mark.parametrize("kind", ["socket", "stream"])
async def test_a_cancelled_write_ends_the_connection_because_half_a_message_is_out(connect: Connect, kind: str) -> None:
    ours: Connection
    peer: trio.abc.Stream
    if kind == "socket":
        ours, peer, _ = connect(10)
    else:
        left, peer = trio.testing.lockstep_stream_pair()
        ours = StreamConnection(left, 10)
    with trio.move_on_after(0.05) as scope:
        await ours.write(MUCH)
    assert scope.cancelled_caught
    assert await ours.read() == b""
    with pytest.raises(PeerGone):
        await ours.write(b"more")
    assert not (await all_of(peer)).endswith(b"more")
    await peer.aclose()


async def test_a_peer_that_leaves_during_a_write(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            with pytest.raises(PeerGone, match="closed"):
                await ours.write(MUCH)

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.aclose()
    ours.abort()


async def test_aborting_ends_a_write_that_waits(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            with pytest.raises(PeerGone):
                await ours.write(MUCH)

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked(0.01)
        ours.abort()
    await peer.aclose()


# ---------------------------------------------------- writes that do not wait
async def test_what_needs_no_waiting_is_sent_at_once(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    assert ours.write_nowait(b"now")
    assert await peer.receive_some(10) == b"now"
    ours.abort()
    await peer.aclose()


async def test_what_went_out_in_part_is_completed_before_anything_else(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    assert ours.write_nowait(MUCH)  # a part of it
    received = [bytes(await peer.receive_some(100_000))]
    assert not ours.write_nowait(b"never")  # there is room now, but while the rest waits, nothing may come between

    async def receive() -> None:
        received.append(await all_of(peer))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await ours.write(b"then this")
        ours.abort()
    assert b"".join(received) == MUCH + b"then this"
    await peer.aclose()


async def test_nothing_comes_between_the_parts_of_a_write_that_waits(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await all_of(peer))

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as writing:
            writing.start_soon(ours.write, MUCH)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not ours.write_nowait(b": comment\n\n")
            nursery.start_soon(receive)
        assert ours.write_nowait(b"after")
        ours.abort()
    assert received == [MUCH + b"after"]
    await peer.aclose()


async def test_where_nothing_fits_nothing_is_sent(connect: Connect) -> None:
    ours, peer, sock = connect(10)
    with suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)
    with suppress(BlockingIOError):
        while True:
            sock.send(b"x")
    assert not ours.write_nowait(b"no room")
    ours.abort()
    assert not (await all_of(peer)).endswith(b"room")
    await peer.aclose()


# ---------------------------------------------------- an idle connection
async def test_what_comes_unasked_spoils_an_idle_connection(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    assert ours.quiet()
    await peer.send_all(b"x")
    assert not ours.quiet()
    assert await ours.read() == b"x"  # it was only looked at
    assert ours.quiet()
    await peer.aclose()
    assert not ours.quiet()
    ours.abort()


# ---------------------------------------------------- the peer's leaving
@pytest.mark.parametrize("how", ["close", "half-close"])
async def test_the_peers_leaving_is_told_without_reading(connect: Connect, how: str) -> None:
    ours, peer, _ = connect(10)
    told: list[bool] = []
    ours.on_gone = lambda: told.append(ours.gone)
    await peer.send_all(b"unread")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert (ours.gone, told) == (False, [])
    await (peer.aclose() if how == "close" else peer.send_eof())
    await until(lambda: ours.gone)
    assert told == [True]
    assert await ours.read() == b"unread"
    ours.abort()
    await peer.aclose()


async def test_whoever_asks_later_finds_that_it_is_gone(connect: Connect) -> None:
    ours, peer, _ = connect(10)
    await peer.aclose()
    await until(lambda: ours.gone)
    ours.abort()


async def test_an_aborted_connection_is_watched_no_more(watch: Watch, connect: Connect) -> None:
    ours, peer, _ = connect(10)
    told: list[str] = []
    ours.on_gone = lambda: told.append("gone")
    assert len(watch) == 1
    ours.abort()
    await peer.aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert (told, len(watch)) == ([], 0)


async def test_a_stream_over_a_socket_is_watched_and_closes_it(watch: Watch) -> None:
    one, other = trio.socket.socketpair()
    ours, peer = StreamConnection(trio.SocketStream(one), 10, watch, one), trio.SocketStream(other)
    told: list[str] = []
    ours.on_gone = lambda: told.append("gone")
    await peer.send_all(b"x")
    assert (await ours.read(), ours.quiet()) == (b"x", True)
    await peer.send_eof()
    await until(lambda: ours.gone)
    assert (told, ours.quiet()) == (["gone"], False)
    ours.abort()
    ours.abort()
    assert (one.fileno(), len(watch), await all_of(peer)) == (-1, 0, b"")
    await peer.aclose()


# ---------------------------------------------------- sockets as the kernel has them
async def test_tcp_connections_send_at_once_and_notice_a_vanished_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, address = server.accept()
        with accepted:
            prepare(accepted)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, interval, count = (accepted.getsockopt(socket.IPPROTO_TCP, option) for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT))
            assert idle + interval * count <= 180
            assert peer_of(accepted) == address == client.getsockname()
        prepare(accepted)  # closed already: no concern of ours
        assert peer_of(accepted) is None


async def test_unix_sockets_are_served_and_have_no_address() -> None:
    one, other = socket.socketpair()
    with one, other:
        prepare(one)
        assert peer_of(one) is None
