"""Connections to a peer that reads slowly: it is served as long as it is steady, and not too slow to be worth the memory. The sockets are real,
the time is the test's."""
from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from shadowproxy.connection import FLOOR, PeerGone, SocketConnection
from shadowproxy.watch import Watch

MUCH = bytes(range(256)) * 16_384  # 4 MiB: more than the kernel takes at once
DEADLINE = 30


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield watch
        nursery.cancel_scope.cancel()
    watch.close()


class Reader:
    """A write under way to a peer that reads when the test says so, in time that passes when the test says so."""

    def __init__(self, watch: Watch, clock: trio.testing.MockClock) -> None:
        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        self.ours, self._peer = SocketConnection(one, watch, DEADLINE), trio.SocketStream(trio.socket.from_stdlib_socket(other))
        self._clock = clock
        self.outcome: str | None = None
        self.received = 0

    async def write(self) -> None:
        try:
            await self.ours.write(MUCH)
            self.outcome = "written"
        except PeerGone as error:
            self.outcome = str(error)

    async def after(self, seconds: float, size: int) -> None:
        """Let time pass, then read this much."""
        self._clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked(0.01)
        while size > 0 and (part := await self._peer.receive_some(size)):
            size -= len(part)
            self.received += len(part)
        await trio.testing.wait_all_tasks_blocked(0.01)

    async def close(self) -> None:
        self.ours.abort()
        await self._peer.aclose()


async def test_a_peer_that_reads_slowly_but_steadily_is_served(watch: Watch, mock_clock: trio.testing.MockClock) -> None:
    reader = Reader(watch, mock_clock)
    mock_clock.rate = 0.001  # else a wait for quiet would never end
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.write)
        for _ in range(4):
            await reader.after(DEADLINE - 1, len(MUCH) // 4)
    assert (reader.outcome, reader.received) == ("written", len(MUCH))
    await reader.close()


async def test_a_peer_that_reads_below_the_floor_is_given_up(watch: Watch, mock_clock: trio.testing.MockClock) -> None:
    reader = Reader(watch, mock_clock)
    mock_clock.rate = 0.001
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.write)
        rounds = 0
        while reader.outcome is None and rounds < 50:
            rounds += 1
            await reader.after(DEADLINE - 5, FLOOR * DEADLINE // 2)
    assert reader.outcome is not None
    assert "more slowly than 4096 bytes a second" in reader.outcome
    assert rounds > 2
    await reader.close()
