"""Reading from sockets by the watch's word: however bytes, ends and waits fall together, nothing is missed and nobody sleeps on. Real sockets."""
from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing

from shadowproxy.connection import CHUNK, SocketConnection
from shadowproxy.service import running
from shadowproxy.watch import Watch


@attrs.frozen
class Pair:
    ours: SocketConnection
    peer: socket.socket


@pytest.fixture(params=["told by the watch", "told by Trio"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """The second as where there is no epoll: the watch does not say what can be read."""
    watch = Watch()
    one, other = socket.socketpair()
    one.setblocking(False)
    if request.param == "told by Trio":
        ours = SocketConnection(one, watch, 5)
    async with running(watch.run):
        await trio.testing.wait_all_tasks_blocked()
        if request.param == "told by the watch":
            ours = SocketConnection(one, watch, 5)
        with other, trio.fail_after(10):
            yield Pair(ours, other)
        ours.abort()
    watch.close()


async def everything(connection: SocketConnection) -> bytes:
    data = b""
    while part := await connection.read():
        data += part
    return data


async def test_the_last_bytes_and_the_end_at_once(pair: Pair) -> None:
    """Both are one event for the kernel: the end must be found although the bytes before it were fewer than asked for."""
    pair.peer.send(b"last words")
    pair.peer.close()
    await trio.sleep(0.01)  # both have certainly come before the first look; the test holds either way
    assert await everything(pair.ours) == b"last words"
    assert await pair.ours.read() == b""


async def test_the_end_comes_while_the_last_bytes_are_read(pair: Pair) -> None:
    pair.peer.send(b"last words")
    assert await pair.ours.read() == b"last words"
    pair.peer.close()
    assert await pair.ours.read() == b""


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
async def test_as_much_as_is_read_at_once(pair: Pair, size: int) -> None:
    """More, or nothing more, may wait behind a full chunk."""
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * CHUNK)
    assert pair.peer.send(b"x" * size) == size
    data = b""
    while len(data) < size:
        data += await pair.ours.read()
    pair.peer.send(b"next")
    assert await pair.ours.read() == b"next"


async def test_one_byte_after_the_other(pair: Pair) -> None:
    async def send() -> None:
        for byte in range(200):
            pair.peer.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        pair.peer.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await everything(pair.ours) == bytes(range(200))


async def test_a_wait_that_was_cancelled_loses_nothing(pair: Pair) -> None:
    for number in range(20):
        with trio.move_on_after(0):
            await pair.ours.read()
        pair.peer.send(b"%d" % number)
        assert await pair.ours.read() == b"%d" % number


async def test_two_readers_are_a_mistake(pair: Pair) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.ours.read)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await pair.ours.read()
        pair.peer.send(b"for the first")


async def test_what_is_there_does_not_keep_others_from_their_turn(pair: Pair) -> None:
    """A connection that always has something to read must not be the only one that is served."""
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * CHUNK)
    pair.peer.send(b"x" * 4 * CHUNK)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await pair.ours.read()
        before = turns
        for _ in range(2):  # whoever comes first in the scheduler's round, the other has had one when the second read is over
            await pair.ours.read()
        assert turns > before
        nursery.cancel_scope.cancel()
