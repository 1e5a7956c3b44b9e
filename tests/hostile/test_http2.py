"""What fuzzing has found out about HTTP/2: bytes after the preface, and that the connection ends all the same once its client has left."""
from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
import trio
from asgi_apps import Recorder
from cancelling import virtually
from hostile.http2 import BEGIN, GET, LIMITS, POST, block, frame, http2
from hostile.memory_client import open_raw
from wires import open_wire

from shadowproxy.config import Timeouts

NO_ROOM = frame(4, 0, 0, b"\0\4\0\0\0\0")
"""Settings: of a response's body nothing may be sent."""
FOUND = {
    "no room for an answer": NO_ROOM + frame(1, 5, 1, block(*GET)),
    "no room for any of many answers": NO_ROOM + b"".join(frame(1, 5, number, block(*GET)) for number in range(1, 99, 2)),
    "no room, and a body": NO_ROOM + frame(1, 4, 1, block(*POST)) + frame(0, 1, 1, b"abc"),
    "no room, and a reset": NO_ROOM + frame(1, 5, 1, block(*GET)) + frame(3, 0, 1, b"\0\0\0\x08"),
    "room for a part of an answer": frame(4, 0, 0, b"\0\4\0\0\0\3") + frame(1, 5, 1, block(*GET)),
    "room is taken back": frame(1, 5, 1, block(*GET)) + NO_ROOM + frame(1, 5, 3, block(*GET)),
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("cuts", [(), range(1, 60)], ids=["whole", "in pieces"])
def test_found(name: str, cuts: tuple[int, ...]) -> None:
    http2(FOUND[name], cuts)


def frames(said: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Of each frame its kind, its stream and what it carries."""
    while said:
        length, kind, number = int.from_bytes(said[:3]), said[3], struct.unpack(">I", said[5:9])[0]
        yield kind, number, said[9 : 9 + length]
        said = said[9 + length :]


def kinds(said: bytes) -> list[int]:
    return [kind for kind, _, _ in frames(said)]


def test_who_makes_no_room_for_an_answer_loses_its_stream_and_no_other() -> None:
    """And the connection, when it has been idle for long enough."""

    async def main() -> None:
        app = Recorder()
        async with open_wire(app, LIMITS, Timeouts(write=5, idle=20)) as wire, open_raw(wire.connect) as raw:
            await raw.send(BEGIN + NO_ROOM + frame(1, 5, 1, block(*GET)))
            await trio.sleep(4)
            assert 3 not in kinds(raw.data), "it may still make room"
            await raw.send(frame(1, 5, 3, block(*GET)) + frame(8, 0, 3, b"\0\0\1\0"))
            await trio.sleep(10)
            resets = [payload for kind, number, payload in frames(raw.data) if (kind, number) == (3, 1)]
            ends = [number for kind, number, payload in frames(raw.data) if kind == 0 and b"number" in payload]
            assert (resets, ends) == ([b"\0\0\0\x08"], [3])
            await raw.send(frame(1, 5, 5, block(*GET)) + frame(8, 0, 5, b"\0\0\1\0"))
            await raw.settle()
            assert [number for kind, number, payload in frames(raw.data) if kind == 0 and payload] == [3, 5]
            assert wire.server.connections == 1
            await trio.sleep(40)
            assert (raw.closed, wire.server.connections) == (True, 0)

    virtually(main)


def test_who_is_refused_for_its_fields_may_have_a_body_under_way() -> None:
    """It costs nobody else anything."""

    async def main() -> None:
        app = Recorder()
        async with open_wire(app, LIMITS) as wire, open_raw(wire.connect) as raw:
            await raw.send(BEGIN + frame(1, 4, 1, block(*POST, *[(b"a", b"b")] * 30)))
            await raw.settle()
            for _ in range(3):
                await raw.send(frame(0, 0, 1, b"x" * 10))
                await raw.settle()
            await raw.send(frame(0, 1, 1) + frame(1, 5, 3, block(*GET)))
            await raw.settle()
            assert [number for kind, number, _ in frames(raw.data) if kind == 1] == [1, 3]
            assert (wire.server.connections, len(app.seen)) == (1, 1)

    virtually(main)
