"""How an HTTP/2 connection ends, frame by frame, in virtual time: what was accepted is answered, what came later is refused in a way that lets its
client send it again elsewhere. Real clients: tests/real/test_h2.py."""
from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from asgi_apps import Event, Receive, Send, answer
from hostile.http2 import BEGIN, GET, POST, block, frame
from hostile.memory_client import Raw, open_raw
from trio.testing import MockClock
from wires import Wire, open_wire

from shadowproxy.config import Timeouts
from shadowproxy.downstream.h2 import LAST_BYTES

DATA, HEADERS, RESET, SETTINGS, GOAWAY, WINDOW = 0, 1, 3, 4, 7, 8


class Held:
    """Answers each request when its path is let go of, be it before or after it has come."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._go: dict[str, trio.Event] = {}

    def let_go(self, path: str) -> None:
        self._go.setdefault(path, trio.Event()).set()

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await self._go.setdefault(scope["path"], trio.Event()).wait()
        await answer(send, scope["path"].encode() * 1000)


class Peer:
    """A client's view: what came, by frames."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    async def ask(self, number: int, path: str, *, body: tuple[bytes, ...] = ()) -> None:
        fields = (*(POST if body else GET)[:3], (b":path", path.encode()))
        parts = [frame(DATA, int(at == len(body)), number, data) for at, data in enumerate(body, 1)]
        await self.raw.send(frame(HEADERS, 4 if body else 5, number, block(*fields)) + b"".join(parts))
        await self.raw.settle()

    @property
    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Kind, flags, stream, payload."""
        found, said = [], self.raw.data
        while said:
            length = int.from_bytes(said[:3])
            found.append((said[3], said[4], struct.unpack(">I", said[5:9])[0], said[9 : 9 + length]))
            said = said[9 + length :]
        return found

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """The newest stream that was looked at, and the error."""
        return [struct.unpack(">II", payload[:8]) for kind, _, _, payload in self.frames if kind == GOAWAY]

    def body(self, number: int) -> bytes:
        return b"".join(payload for kind, _, stream, payload in self.frames if (kind, stream) == (DATA, number))

    def ended(self, number: int) -> bool:
        return any(kind == DATA and flags & 1 and stream == number for kind, flags, stream, _ in self.frames)


@asynccontextmanager
async def speaking(app: Held, **timeouts: float) -> AsyncIterator[tuple[Wire, Peer]]:
    async with open_wire(app, timeouts=Timeouts(**timeouts)) as wire, open_raw(wire.connect) as raw:
        await raw.send(BEGIN)
        await raw.settle()
        yield wire, Peer(raw)


async def gone(wire: Wire, peer: Peer, within: float = 3 * LAST_BYTES) -> None:
    with trio.fail_after(within):
        await wire.server.drained()
    await peer.raw.settle()
    assert (peer.raw.closed, wire.server.connections) == (True, 0)


async def test_an_idle_connection_is_told_at_once(autojump_clock: MockClock) -> None:
    app = Held()
    app.let_go("/a")
    async with speaking(app) as (wire, peer):
        await peer.ask(1, "/a")
        assert peer.ended(1)
        assert peer.goaways == []
        wire.server.drain()
        await gone(wire, peer)
        assert peer.goaways == [(1, 0)]


async def test_one_that_has_asked_nothing_is_told_that_nothing_was_looked_at(autojump_clock: MockClock) -> None:
    async with speaking(Held()) as (wire, peer):
        wire.server.drain()
        await gone(wire, peer)
        assert peer.goaways == [(0, 0)]


async def test_what_is_under_way_is_answered_and_then_the_client_is_told(autojump_clock: MockClock) -> None:
    app = Held()
    async with speaking(app) as (wire, peer):
        await peer.ask(1, "/a")
        await peer.ask(3, "/b")
        wire.server.drain()
        await trio.sleep(20)
        assert peer.goaways == [], "some clients would drop what is under way"
        app.let_go("/a")
        await trio.sleep(5)
        assert (peer.ended(1), peer.ended(3), peer.goaways) == (True, False, [])
        app.let_go("/b")
        await gone(wire, peer)
        assert (peer.body(3), peer.goaways) == (b"/b" * 1000, [(3, 0)])
        assert peer.frames[-1][0] == GOAWAY, "last of all"


async def test_it_does_not_overtake_the_end_of_an_answer_that_is_read_slowly(autojump_clock: MockClock) -> None:
    app = Held()
    async with speaking(app) as (wire, peer):
        app.let_go("/a")
        await peer.raw.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))  # no room for the body of an answer
        await peer.ask(1, "/a")
        wire.server.drain()
        peer.raw.client.stop_reading()
        await peer.raw.send(frame(WINDOW, 0, 1, b"\0\0\x40\0"))
        await trio.sleep(LAST_BYTES / 2)
        peer.raw.client.read_on()
        await gone(wire, peer)
        assert (peer.ended(1), peer.frames[-1][0]) == (True, GOAWAY)


@pytest.mark.parametrize("body", [(), (b"x" * 1000,), (b"x" * 1000,) * 9], ids=["no body", "a body", "a body in parts"])
async def test_what_begins_during_the_drain_is_refused_and_costs_the_others_nothing(autojump_clock: MockClock, body: tuple[bytes, ...]) -> None:
    app = Held()
    async with speaking(app) as (wire, peer):
        await peer.ask(1, "/a")
        wire.server.drain()
        for number in (3, 5, 7):
            await peer.ask(number, "/late", body=body)
        assert (app.seen, peer.goaways) == (["/a"], [(1, 0)])
        assert [stream for kind, _, stream, _ in peer.frames if kind in (HEADERS, RESET)] == [], "GOAWAY says it all"
        returned = sum(struct.unpack(">I", payload)[0] for kind, _, stream, payload in peer.frames if (kind, stream) == (WINDOW, 0))
        assert returned == 3 * sum(len(part) for part in body)
        app.let_go("/a")
        await gone(wire, peer)
        assert (peer.body(1), peer.goaways) == (b"/a" * 1000, [(1, 0)])


async def test_the_body_of_what_was_accepted_is_taken_in_full(autojump_clock: MockClock) -> None:
    app = Held()
    app.let_go("/a")
    async with speaking(app) as (wire, peer):
        await peer.raw.send(frame(HEADERS, 4, 1, block(*POST[:3], (b":path", b"/a"))) + frame(DATA, 0, 1, b"x" * 10))
        await peer.raw.settle()
        wire.server.drain()
        await peer.raw.send(frame(DATA, 1, 1, b"y" * 10))
        await gone(wire, peer)
        assert (peer.body(1), peer.goaways) == (b"/a" * 1000, [(1, 0)])


async def test_at_the_end_of_the_grace_it_is_told_as_well(autojump_clock: MockClock) -> None:
    async with speaking(Held()) as (wire, peer):
        peer.raw.client.connection.at_once = True  # as a socket is
        await peer.ask(1, "/a")
        wire.server.drain()
        wire.server.cancel("shutdown")
        await gone(wire, peer)
        assert (peer.ended(1), peer.goaways) == (False, [(1, 0)])


async def test_a_connection_that_was_idle_for_too_long_is_told(autojump_clock: MockClock) -> None:
    app = Held()
    app.let_go("/a")
    async with speaking(app, idle=60) as (wire, peer):
        await peer.ask(1, "/a")
        await trio.sleep(55)
        await peer.ask(3, "/a")
        await trio.sleep(55)
        assert wire.server.connections == 1
        await trio.sleep(5 + 3 * LAST_BYTES)
        assert (peer.raw.closed, peer.goaways, wire.server.connections) == (True, [(3, 0)], 0)


async def test_who_does_not_read_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with speaking(Held()) as (wire, peer):
        await peer.ask(1, "/never")
        peer.raw.client.stop_reading()
        wire.server.drain()
        await peer.ask(3, "/late")
        wire.server.cancel("shutdown")
        with trio.fail_after(3 * LAST_BYTES):
            await wire.server.drained()


async def test_a_client_that_says_it_first_is_answered_and_let_go(autojump_clock: MockClock) -> None:
    app = Held()
    async with speaking(app) as (wire, peer):
        await peer.ask(1, "/a")
        await peer.raw.send(frame(GOAWAY, 0, 0, b"\0" * 8))
        await peer.ask(3, "/against its word")
        assert (app.seen, peer.goaways) == (["/a"], [(1, 0)])
        app.let_go("/a")
        await trio.sleep(3 * LAST_BYTES)
        assert (peer.body(1), peer.raw.closed, wire.server.connections) == (b"/a" * 1000, True, 0)


async def test_a_client_that_says_it_when_it_waits_for_nothing_is_let_go(autojump_clock: MockClock) -> None:
    async with speaking(Held()) as (wire, peer):
        await peer.raw.send(frame(GOAWAY, 0, 0, b"\0" * 8))
        await trio.sleep(3 * LAST_BYTES)
        assert (peer.goaways, peer.raw.closed, wire.server.connections) == ([(0, 0)], True, 0)


async def test_a_client_that_gives_up_on_us_has_its_requests_cancelled(autojump_clock: MockClock) -> None:
    app = Held()
    async with speaking(app) as (wire, peer):
        await peer.ask(1, "/never")
        await peer.raw.send(frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\1"))
        await trio.sleep(3 * LAST_BYTES)
        assert peer.raw.closed
        app.let_go("/never")
        await gone(wire, peer)


async def test_a_client_that_asks_and_closes_in_one_breath_is_answered(autojump_clock: MockClock) -> None:
    app = Held()
    async with speaking(app) as (wire, peer):
        await peer.raw.send(frame(HEADERS, 5, 1, block(*GET[:3], (b":path", b"/a"))) + frame(GOAWAY, 0, 0, b"\0" * 8))
        await trio.sleep(20)
        app.let_go("/a")
        await trio.sleep(3 * LAST_BYTES)
        assert (peer.ended(1), peer.goaways, peer.raw.closed, wire.server.connections) == (True, [(1, 0)], True, 0)
