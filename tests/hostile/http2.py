"""HTTP/2 for fuzzing: frames to begin with, and the target that sends them to the guarded server.

In: the frames of a client, after the preface and its settings, and places to cut them at. Raises when a promise is broken: whatever comes, the connection ends
once the client has, nothing is a bug of ours, applications get no more than the limits allow, and what the server says are whole frames.
"""
from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import hpack
import hyperframe.frame
import trio
from asgi_apps import Event, Receive, Recorder, Send
from cancelling import virtually
from hostile.failures import failures
from hostile.memory_client import open_raw
from wires import open_wire

from shadowproxy.config import Limits

LIMITS = Limits(head=2000, headers=20, body=2000)
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"localhost"), (b":path", b"/x"))
POST = ((b":method", b"POST"), *GET[1:])


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, number) + payload


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """Without a table, so that blocks can be cut and mixed."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def begun() -> Iterator[bytes]:
    """Seeds: each what a client may send."""
    get, post = block(*GET), block(*POST)
    yield frame(1, 5, 1, get)
    yield b"".join(frame(1, 5, number, get) for number in (1, 3, 5))
    yield frame(1, 4, 1, post) + frame(0, 0, 1, b"ab") + frame(0, 1, 1, b"c")
    yield frame(1, 0, 1, get[:5]) + frame(9, 0, 1, get[5:9]) + frame(9, 4, 1, get[9:]) + frame(0, 1, 1)
    yield frame(1, 4, 1, block(*POST, (b"content-length", b"2"))) + frame(0, 1, 1, b"ab")
    yield frame(1, 4, 1, post) + frame(0, 0, 1, b"a" * 900) * 3 + frame(1, 5, 1, block((b"x", b"trailer")))
    yield frame(1, 0xD, 1, b"\x03" + post + b"\0\0\0") + frame(0, 9, 1, b"\x02ab\0\0")
    yield frame(1, 0x25, 1, b"\0\0\0\0\x10" + get) + frame(2, 0, 3, b"\0\0\0\1\x10")
    yield frame(1, 4, 1, post) + frame(3, 0, 1, b"\0\0\0\x08") + frame(1, 5, 3, get)
    yield frame(4, 0, 0, b"\0\4\0\0\0\0") + frame(1, 5, 1, get) + frame(8, 0, 1, b"\0\0\1\0") + frame(4, 1, 0)
    yield frame(6, 0, 0, b"12345678") + frame(8, 0, 0, b"\0\0\1\0") + frame(7, 0, 0, b"\0" * 8)
    yield frame(1, 5, 1, block(*GET, *[(b"a", b"b")] * 30)) + frame(1, 5, 3, block(*GET, (b"a", b"c" * 2500)))
    yield frame(1, 5, 1, block(*GET, (b"cookie", b"a=b"), (b"te", b"trailers"), (b"x", b"\xff\x01")))
    yield frame(1, 5, 1, hpack.Encoder().encode([*GET, (b"x", b"indexed")])) + frame(1, 5, 3, b"\x82\x86\x84\xbe\xbf")


WORDS = [b"\0\0\0", b"\0\0\1", b"\0\0\2", b"\1\5\0\0\0\1", b"\1\4\0\0\0\3", b"\0\1\0\0\0\1", *(frame(kind, 0, 0) for kind in range(10)), *(frame(kind, 5, 1) for kind in range(10)),
         frame(4, 0, 0, b"\0\5\0\0\x40\0"), frame(4, 0, 0, b"\0\1\0\0\0\0"), frame(4, 0, 0, b"\0\3\0\0\0\0"), block(*GET), block(*POST), b"\x82", b"\x40", b"\x10", b"\x3f\xe1\x1f", b"\xff\xff\xff\xff",
         *(block(field) for field in ((b"x", b"\0"), (b"content-length", b"1"), (b"connection", b"close"), (b"host", b"x"), (b"expect", b"100-continue"), (b":path", b"*"), (b":protocol", b"websocket"),
                                      (b"upgrade", b"h2c"), (b":authority", b"\xff"), (b"transfer-encoding", b"chunked"))), frame(1, 5, 5, block(*GET)), frame(3, 0, 1, b"\0\0\0\1")]  # fmt: skip


def http2(data: bytes, cuts: Sequence[int]) -> None:
    virtually(lambda: _served([BEGIN, *_pieces(data, cuts)]))


def _pieces(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    yield from (data[start:end] for start, end in pairwise(places))


async def _served(parts: Sequence[bytes]) -> None:
    app = Judge()
    with failures() as found:
        async with open_wire(app, LIMITS) as wire, open_raw(wire.connect) as raw:
            for part in parts:
                await raw.send(part)
                await raw.settle()
            raw.client.half_close()
            with trio.fail_after(LONGEST):
                await wire.server.drained()
            await raw.settle()
            said = raw.data
            assert wire.server.connections == 0
    assert not found, found[0].getMessage()
    assert app.faults == []
    _whole_frames(said)


LONGEST = 100.0
"""Virtual seconds after the client's end."""


class Judge:
    """Records requests, and notes what is more than it should have been given."""

    def __init__(self) -> None:
        self.recorder, self.faults = Recorder(), list[str]()

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        fields = scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in fields)
        if len(fields) > LIMITS.headers or size > LIMITS.head:
            self.faults.append(f"{len(fields)} fields of {size} bytes")
        if any(CONTROL.search(value) for _, value in fields):
            self.faults.append(f"control characters in {fields}")
        await self.recorder(scope, receive, send)


def _whole_frames(said: bytes) -> None:
    """Up to a half-written last one, whose client had gone."""
    rest = memoryview(said)
    while len(rest) >= 9:
        head, length = hyperframe.frame.Frame.parse_frame_header(rest[:9])
        head.parse_body(rest[9 : 9 + length])
        rest = rest[9 + length :]
