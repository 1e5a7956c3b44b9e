"""The watch: who has left is told once, by the kernel's word or, elsewhere, by a look; nobody else is told anything. Real sockets, real time."""
from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing
from programs import until

from shadowproxy.watch import Watch


@pytest.fixture(params=["epoll", "looks"])
async def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    """Running; the second as it is where there is no epoll."""
    with monkeypatch.context() as patched:
        if request.param == "looks":
            patched.setattr("shadowproxy.watch.sys.platform", "darwin")
            patched.setattr("shadowproxy.watch.PERIOD", 0.01)
        watch = Watch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            yield watch
            nursery.cancel_scope.cancel()
        watch.close()


class Peer:
    """A watched socket and its other end."""

    def __init__(self, watch: Watch, tcp: bool = False) -> None:
        self.ours, self.other = _tcp() if tcp else socket.socketpair()
        self.ours.setblocking(False)
        self.watch, self.told = watch, 0
        watch.add(self.ours, self.tell)

    def tell(self) -> None:
        self.told += 1

    def stop(self) -> None:
        if self.ours.fileno() != -1:
            self.watch.remove(self.ours.fileno())
        self.ours.close()
        self.other.close()


def _tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return server.accept()[0], client


@pytest.fixture
def peers(watch: Watch) -> Iterator[list[Peer]]:
    peers = [Peer(watch, tcp) for tcp in (False, True) for _ in range(5)]
    yield peers
    for peer in peers:
        peer.stop()


async def a_while() -> None:
    """Time enough for the watch to notice what it should not."""
    await trio.testing.wait_all_tasks_blocked(0.005)
    await trio.sleep(0.05)


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("which", [0, 9])
async def test_who_leaves_is_told_of_and_nobody_else(peers: list[Peer], how: str, which: int) -> None:
    leaving = peers[which]
    if how == "half-close":
        leaving.other.shutdown(socket.SHUT_WR)
    else:
        if how == "reset" and leaving.other.family == socket.AF_INET:
            leaving.other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaving.other.close()
    await until(lambda: leaving.told)
    await a_while()
    assert [peer.told > 0 for peer in peers] == [peer is leaving for peer in peers]


async def test_bytes_are_no_leaving(peers: list[Peer]) -> None:
    for peer in peers:
        peer.other.send(b"x" * 1000)
    await a_while()
    assert [peer.told for peer in peers] == [0] * len(peers)


async def test_who_left_before_is_told_of_as_well(watch: Watch) -> None:
    ours, other = socket.socketpair()
    ours.setblocking(False)
    other.close()
    told: list[str] = []
    watch.add(ours, lambda: told.append("left"))
    await until(lambda: told)
    watch.remove(ours.fileno())
    ours.close()


async def test_who_is_removed_is_forgotten(peers: list[Peer], watch: Watch) -> None:
    for peer in peers:
        watch.remove(peer.ours.fileno())
        peer.other.close()
    watch.remove(12345)
    await a_while()
    assert ([peer.told for peer in peers], len(watch)) == ([0] * len(peers), 0)


async def test_a_number_used_again_is_another_socket(watch: Watch) -> None:
    first = Peer(watch)
    number = first.ours.fileno()
    first.stop()
    second = Peer(watch)
    if second.ours.fileno() != number:  # as the kernel nearly always has it
        os.dup2(second.ours.fileno(), number)
        os.close(number)
    await a_while()
    assert (first.told, second.told) == (0, 0)
    second.other.close()
    await until(lambda: second.told)
    assert first.told == 0
    second.stop()


async def test_a_callback_may_end_others_that_left_at_the_same_moment(watch: Watch) -> None:
    """Both leave; whoever is told first ends the other, whose callback must not come any more."""
    one, two = Peer(watch), Peer(watch)
    told: list[Peer] = []

    def end(me: Peer, other: Peer) -> None:
        told.append(me)
        other.stop()

    watch.add(one.ours, lambda: end(one, two))
    watch.add(two.ours, lambda: end(two, one))
    one.other.close()
    two.other.close()
    await until(lambda: told)
    await a_while()
    assert len(set(map(id, told))) == 1
    one.stop()
    two.stop()


async def test_the_same_socket_may_get_a_new_owner(watch: Watch) -> None:
    peer, told = Peer(watch), list[str]()
    watch.remove(peer.ours.fileno())
    watch.add(peer.ours, lambda: told.append("left"))
    peer.other.close()
    await until(lambda: told)
    assert peer.told == 0
    peer.stop()


async def test_a_closed_watch_takes_no_harm() -> None:
    watch = Watch()
    watch.close()
    watch.close()
    ours, other = socket.socketpair()
    with ours, other:
        watch.add(ours, lambda: None)
        watch.remove(ours.fileno())
    assert len(watch) == 0
