"""What kills a bare Hypercorn, and more of the kind, against our ports: plain by either engine, HTTP/2 by prior knowledge, and TLS.

After each the proxy still answers, on new connections and by every protocol; its drain is bounded although the hostile client stays; nothing is left.
"""
from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self, TypeAlias

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hpack
import pytest
import trio
import trustme

from shadowproxy import Config, Limits, Proxy, Timeouts, Upstream, open_proxy
from shadowproxy.config import Tls
from shadowproxy.server import LAST_WORDS
from shadowproxy.sessions.table import COURTESY

Pairs: TypeAlias = Sequence[tuple[bytes, bytes]]
PATIENCE = 20.0
DRAIN = 0.3
GET = b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"
HEAD: Pairs = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"localhost"), (b":path", b"/x"))
POST: Pairs = ((b":method", b"POST"), *HEAD[1:])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@attrs.frozen
class Way:
    """How a proxy listens."""

    engine: str
    tls: bool

    def __str__(self) -> str:
        return f"{self.engine}{' with TLS' if self.tls else ''}"


WAYS = [Way("native", False), Way("hypercorn", False), Way("native", True)]
every = pytest.mark.parametrize("way", WAYS, ids=str)


@attrs.frozen
class Port:
    """An open proxy, and how to get at it."""

    proxy: Proxy
    address: tuple[str, int]
    trust: ssl.SSLContext | None

    async def socket(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.address)

    async def stream(self, protocol: str) -> trio.abc.Stream:
        """A connection on which `protocol` may be spoken, over TLS where that is wanted."""
        plain = await self.socket()
        if self.trust is None:
            return plain
        self.trust.set_alpn_protocols([protocol])
        secure = trio.SSLStream(plain, self.trust, server_hostname="localhost", https_compatible=True)
        await secure.do_handshake()
        return secure

    async def answers(self) -> None:
        """A new client of each protocol gets its answer."""
        with trio.fail_after(PATIENCE):
            async with await self.stream("http/1.1") as one:
                await one.send_all(GET)
                assert (await one.receive_some()).startswith(b"HTTP/1.1 404")
            async with H2(await self.stream("h2")) as two:
                assert await two.status(await two.ask(HEAD)) == 404

    async def drains(self) -> None:
        """Within its stages, whoever still holds a connection."""
        with trio.fail_after(DRAIN + LAST_WORDS + COURTESY + PATIENCE):
            began = trio.current_time()
            await self.proxy.drain()
            assert trio.current_time() - began < DRAIN + LAST_WORDS + COURTESY + 1


class H2:
    """A client of HTTP/2 that checks nothing of what it sends."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        config = h2.config.H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(PATIENCE):
            await trio.aclose_forcefully(self.stream)

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def ask(self, fields: Pairs, *, end: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, list(fields), end_stream=end)
        await self.flush()
        return number

    async def read(self) -> bool:
        """More events; False at the end of the connection."""
        try:
            data = bytes(await self.stream.receive_some())
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.events += self.h2.receive_data(data)
            await self.flush()
        return bool(data)

    async def status(self, number: int) -> int | None:
        """Of the whole response to that request; None if there is none."""
        while not any(isinstance(event, h2.events.StreamEnded | h2.events.StreamReset) and event.stream_id == number for event in self.events):
            if not await self.read():
                return None
        found = [event for event in self.events if isinstance(event, h2.events.ResponseReceived) and event.stream_id == number]
        return int(dict(found[0].headers or [])[b":status"]) if found else None


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, number) + payload


def block(fields: Pairs) -> bytes:
    return hpack.Encoder().encode(list(fields))


BEGIN = PREFACE + frame(4, 0, 0)
Vector: TypeAlias = Callable[[Port], Awaitable[trio.abc.AsyncResource]]
VECTORS: dict[str, Vector] = {}


def bytes_of(name: str, data: bytes, protocol: str = "http/1.1") -> None:
    """A vector that is only bytes; over TLS they are sent within it."""

    async def send(port: Port) -> trio.abc.AsyncResource:
        stream = await port.stream(protocol)
        with trio.move_on_after(PATIENCE):
            try:
                await stream.send_all(data)
            except trio.BrokenResourceError:
                pass  # it has seen enough
        return stream

    VECTORS[name] = send


def vector(function: Vector) -> Vector:
    VECTORS[function.__name__.replace("_", " ")] = function
    return function


# ---------------------------------------------------- the eighteen
WEBSOCKET = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
bytes_of("bytes after a websocket's handshake", WEBSOCKET + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bKdPyn3u98cTfZJSh4TNeQ==\r\n\r\nx\r\n")
bytes_of("a websocket of no version", WEBSOCKET + b"\r\n")
bytes_of("a path outside ASCII", BEGIN + frame(1, 5, 1, block([*HEAD[:3], (b":path", b"/\xff\xfe")])), "h2")
bytes_of("connect without a path", BEGIN + frame(1, 4, 1, block([(b":method", b"CONNECT"), (b":authority", b"x")])), "h2")
bytes_of("a stream opened and reset", BEGIN + frame(1, 4, 1, block(POST)) + frame(3, 0, 1, b"\0\0\0\x08"), "h2")
bytes_of("a length past all numbers", b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999999\r\n\r\n")
bytes_of("two lengths", b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd")
bytes_of("garbage", b"\x00\xff\x16\x03GARBAGE\r\n\r\n")
bytes_of("more after the last request", b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" + GET + b"zzz")
bytes_of("an upgrade to h2c with bad settings", b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: !!!!\r\n\r\n")


@vector
async def data_after_the_answer(port: Port) -> trio.abc.AsyncResource:
    client = H2(await port.stream("h2"))
    number = await client.ask(POST, end=False)
    with trio.move_on_after(0.5):  # the answer may wait for the rest of the request, and that is as good
        await client.status(number)
    with suppress(trio.BrokenResourceError):  # it may have hung up by then
        await client.stream.send_all(frame(0, 1, number, b"x" * 10) * 2)
    return client.stream


@vector
async def garbage_after_an_answer(port: Port) -> trio.abc.AsyncResource:
    stream = await port.stream("http/1.1")
    await stream.send_all(GET)
    await stream.receive_some()
    await stream.send_all(b"\x00\xff\r\n\r\n")
    return stream


@vector
async def a_body_cut_short(port: Port) -> trio.abc.AsyncResource:
    stream = await port.stream("http/1.1")
    await stream.send_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\nab")
    await stream.aclose()
    return stream


@vector
async def a_continue_that_nobody_awaits(port: Port) -> trio.abc.AsyncResource:
    stream = await port.stream("http/1.1")
    await stream.send_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
    await stream.aclose()
    return stream


@vector
async def plain_HTTP_to_whatever_listens(port: Port) -> trio.abc.AsyncResource:  # noqa: N802
    stream = await port.socket()
    await stream.send_all(GET)
    return stream


@vector
async def half_a_record_of_TLS(port: Port) -> trio.abc.AsyncResource:  # noqa: N802
    stream = await port.socket()
    await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
    await stream.aclose()
    return stream


@vector
async def a_reset_before_anything(port: Port) -> trio.abc.AsyncResource:
    stream = await port.socket()
    reset(stream)
    return stream


@vector
async def a_reset_with_an_answer_under_way(port: Port) -> trio.abc.AsyncResource:
    for protocol, data in (("http/1.1", GET * 50), ("h2", BEGIN + frame(1, 5, 1, block(HEAD)))):
        stream = await port.stream(protocol)
        await stream.send_all(data)
        reset(stream.transport_stream if isinstance(stream, trio.SSLStream) else stream)
    return stream


@vector
async def a_TLS_handshake_that_stops(port: Port) -> trio.abc.AsyncResource:  # noqa: N802
    stream = await port.socket()
    await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return stream


def reset(stream: trio.abc.Stream) -> None:
    """Leave without the courtesy of an end."""
    assert isinstance(stream, trio.SocketStream)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


# ---------------------------------------------------- more of HTTP/2
def h2_bytes(name: str, *frames: bytes) -> None:
    bytes_of(name, BEGIN + b"".join(frames), "h2")


OPEN = frame(1, 4, 1, block(POST))
bytes_of("half a preface", PREFACE[:10], "h2")
bytes_of("a preface that goes wrong", PREFACE[:-4] + b"XX\r\n", "h2")
bytes_of("a preface and nothing", PREFACE, "h2")
bytes_of("a preface and garbage", PREFACE + b"\xff" * 1000, "h2")
bytes_of("two prefaces", BEGIN + BEGIN, "h2")
h2_bytes("a frame that is too large", struct.pack(">I", 1 << 20)[1:] + b"\0\0" + struct.pack(">I", 1))
h2_bytes("half a frame", frame(1, 5, 1, block(HEAD))[:-3])
h2_bytes("frames of unknown kinds", *(frame(kind, 255, 0, b"x" * 50) for kind in range(10, 256)))
h2_bytes("data on a stream that is not open", frame(0, 0, 1, b"x"))
h2_bytes("headers on stream 0", frame(1, 5, 0, block(HEAD)))
h2_bytes("an even stream", frame(1, 5, 2, block(HEAD)))
h2_bytes("streams backwards", frame(1, 5, 5, block(HEAD)), frame(1, 5, 3, block(HEAD)))
h2_bytes("a stream twice", frame(1, 5, 1, block(HEAD)) * 2)
h2_bytes("a push from the client", frame(5, 4, 1, b"\0\0\0\2" + block(HEAD)))
h2_bytes("a window past its end", *([frame(8, 0, 0, b"\x7f\xff\xff\xff")] * 2))
h2_bytes("a window of nothing", frame(8, 0, 0, b"\0\0\0\0"))
h2_bytes("padding without data", OPEN, frame(0, 8, 1, b"\xff"))
h2_bytes("a header block that never ends", frame(1, 0, 1, block(HEAD)), *([frame(9, 0, 1, b"")] * 2000))
h2_bytes("a header block cut by another frame", frame(1, 0, 1, block(HEAD)), frame(6, 0, 0, b"x" * 8))
h2_bytes("a bad header block", frame(1, 5, 1, b"\xff" * 100))
h2_bytes("a compression bomb", frame(1, 5, 1, block(HEAD) + b"\x40\x01a\x7f\xe1\x1e" + b"b" * 4000), *(frame(1, 5, n, block(HEAD) + b"\xbe" * 16000) for n in range(3, 40, 2)))
h2_bytes("a thousand fields", frame(1, 5, 1, block([*HEAD, *[(b"a", b"b")] * 1000])))
h2_bytes("a field of 60 kB", frame(1, 0, 1, block([*HEAD, (b"a", b"~" * 10000)])), frame(9, 0, 1, b"\x00\x01b\x7f\x80\x7f" + b"~" * 16000), frame(9, 4, 1, b"~" * 16000))
h2_bytes("goaway and on", frame(7, 0, 0, b"\0" * 8), frame(1, 5, 1, block(HEAD)))
h2_bytes("a thousand resets", *(frame(1, 4, n, block(POST)) + frame(3, 0, n, b"\0\0\0\x08") for n in range(1, 2001, 2)))
h2_bytes("ten thousand pings", frame(6, 0, 0, b"12345678") * 10_000)
h2_bytes("ten thousand settings", frame(4, 0, 0, b"\0\3\0\0\0\x64") * 10_000)
h2_bytes("ten thousand empty data frames", OPEN, frame(0, 0, 1) * 10_000)
h2_bytes("ten thousand priorities", frame(2, 0, 1, b"\0\0\0\0\x10") * 10_000)
h2_bytes("a stream that depends on itself", frame(2, 0, 1, b"\0\0\0\1\x10"))
h2_bytes("three hundred streams at once", *(frame(1, 4, n, block(POST)) for n in range(1, 601, 2)))
h2_bytes("settings of no sense", frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"), frame(4, 0, 0, b"\0\5\0\0\0\1"))
h2_bytes("an answer that may not be sent", frame(4, 0, 0, b"\0\4\0\0\0\0"), frame(1, 5, 1, block(HEAD)))
h2_bytes("trailers that are none", OPEN, frame(1, 4, 1, block([(b"a", b"b")])))
h2_bytes("a body longer than said", frame(1, 4, 1, block([*POST, (b"content-length", b"1")])), frame(0, 1, 1, b"xyz"))
for number, wrong in enumerate([(b"a", b"b\r\nc: d"), (b"a", b"\x00"), (b"A", b"b"), (b"a b", b"c"), (b"", b"x"), (b"connection", b"close"), (b"transfer-encoding", b"chunked"), (b":path", b"/y"), (b":x", b"y"),
                                (b"host", b"evil.example"), (b"\xff", b"x"), (b"content-length", b"x"), (b"cookie", b"\xff"), (b"te", b"x")]):  # fmt: skip
    h2_bytes(f"a wrong field {number} {wrong!r}", frame(1, 5, 1, block([*HEAD, wrong])))
for number, left_out in enumerate(HEAD):
    h2_bytes(f"no {left_out[0].decode()}", frame(1, 5, 1, block([*HEAD[:number], *HEAD[number + 1 :]])))


@asynccontextmanager
async def listening(way: Way, authority: trustme.CA, folder: str) -> AsyncIterator[Port]:
    tls = trust = None
    if way.tls:
        made = authority.issue_cert("localhost")
        made.private_key_pem.write_to_path(f"{folder}/key.pem")
        made.cert_chain_pems[0].write_to_path(f"{folder}/cert.pem")
        tls = Tls(cert=f"{folder}/cert.pem", key=f"{folder}/key.pem")
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
    timeouts = Timeouts(head=2, body=2, write=1, drain=DRAIN)
    engine = "hypercorn" if way.engine == "hypercorn" else "native"
    config = Config(listen=("127.0.0.1:0",), upstream=Upstream(url="http://127.0.0.1:1/mcp"), tls=tls, http_engine=engine, timeouts=timeouts, limits=Limits(head=16_000))  # type: ignore[arg-type]  # one of the two words
    async with open_proxy(config) as proxy:
        host, port = proxy.addresses[0].split("//")[1].removesuffix("/mcp").split(":")
        yield Port(proxy, (host, int(port)), trust)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@every
@pytest.mark.parametrize("name", VECTORS)
async def test_others_are_served_and_the_drain_is_bounded(way: Way, name: str, authority: trustme.CA, tmp_path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(way, authority, str(tmp_path)) as port:
        hostile = await VECTORS[name](port)
        await port.answers()
        await port.drains()
        await trio.aclose_forcefully(hostile)
    assert "a bug of shadowproxy" not in caplog.text


@every
async def test_all_of_them_at_once(way: Way, authority: trustme.CA, tmp_path: str) -> None:
    async with listening(way, authority, str(tmp_path)) as port:
        hostile: list[trio.abc.AsyncResource] = []

        async def attack(one: Vector) -> None:
            hostile.append(await one(port))

        async with trio.open_nursery() as nursery:
            for one in VECTORS.values():
                nursery.start_soon(attack, one)
        await port.answers()
        await port.drains()
        for resource in hostile:
            await trio.aclose_forcefully(resource)


async def test_what_HTTP_1_cannot_carry_is_not_taken_from_HTTP_2(authority: trustme.CA, tmp_path: str) -> None:  # noqa: N802
    """Fields cross to an upstream that speaks HTTP/1.1: a control character in them must not."""
    async with listening(WAYS[0], authority, str(tmp_path)) as port, H2(await port.stream("h2")) as client:
        with trio.fail_after(PATIENCE):
            for value in (b"\x01", b"a\x7f", b"\x1b[31m", b"a\x0bb"):
                assert await client.status(await client.ask([*HEAD, (b"x", value)])) == 400
            for value in (b"a\tb", b"\xff\x80", b""):
                assert await client.status(await client.ask([*HEAD, (b"x", value)])) == 404
