"""What one reader of HTTP/1.1 takes for one request and another for two: each such input has one exact answer here, and closes the connection."""
from __future__ import annotations

import re

import pytest
from asgi_apps import Recorder
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import open_wire

POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
UPGRADE = b"connection: keep-alive, Upgrade\r\nupgrade: h2c\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"

REFUSED: dict[str, tuple[bytes, int]] = {
    "length and chunked": (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n", 400),
    "the same length twice": (POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\na", 400),
    "two lengths": (POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    "signed length": (POST + b"content-length: +1\r\n\r\na", 400),
    "negative length": (POST + b"content-length: -1\r\n\r\na", 400),
    "list of lengths": (POST + b"content-length: 1, 1\r\n\r\na", 400),
    "hexadecimal length": (POST + b"content-length: 0x1\r\n\r\na", 400),
    "length with a gap": (POST + b"content-length: 1 1\r\n\r\na", 400),
    "length past 64 bits": (POST + b"content-length: 99999999999999999999999999\r\n\r\n", 400),
    "empty length": (POST + b"content-length: \r\n\r\n", 400),
    "chunked, identity": (POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "xchunked": (POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "vertical tab before chunked": (POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", 400),
    "space before the colon of a length": (POST + b"content-length : 5\r\n\r\nabcde", 400),
    "folded line": (GET + b"foo: a\r\n b\r\n\r\n", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nhost: x\n\n", 400),
    "bare carriage return in a value": (GET + b"foo: a\rb\r\n\r\n", 400),
    "NUL in a value": (GET + b"foo: a\x00b\r\n\r\n", 400),
    "NUL in a name": (GET + b"fo\x00o: a\r\n\r\n", 400),
    "no name": (GET + b": a\r\n\r\n", 400),
    "control character in the target": (b"GET /\x01 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "target outside ASCII": (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"host: y\r\n\r\n", 400),
    "the same host twice": (GET + b"host: x\r\n\r\n", 400),
    "two hosts in the elder protocol": (b"GET / HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n", 400),
    "line feed after a chunk extension": (CHUNKED + b"1;a\n\r\na\r\n0\r\n\r\n", 400),
    "chunks with bare line feeds": (CHUNKED + b"1\na\n0\n\n", 400),
    "chunk past 64 bits": (CHUNKED + b"fffffffffffffffff\r\n", 400),
    "chunk longer than said": (CHUNKED + b"1\r\nab\r\n0\r\n\r\n", 400),
    "chunk with a sign": (CHUNKED + b"+1\r\na\r\n0\r\n\r\n", 400),
    "chunk with 0x": (CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", 400),
    "space before a chunk's size": (CHUNKED + b" 1\r\na\r\n0\r\n\r\n", 400),
    "NUL in a chunk extension": (CHUNKED + b"1;a\x00\r\na\r\n0\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/1.9": (b"GET / HTTP/1.9\r\nhost: x\r\n\r\n", 400),
    "HTTP/2.0 in words of 1": (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
    "no version of HTTP": (b"GET / HTPP/1.1\r\nhost: x\r\n\r\n", 400),
    "method in lower case": (b"get / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "unknown method": (b"SMUGGLE / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "HTTP/1.0 with chunks": (b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n0\r\n\r\n", 400),
    "HTTP/1.0 with chunks and a length": (b"POST / HTTP/1.0\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a header of a megabyte": (GET + b"foo: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
    "a hundred thousand headers": (GET + b"a: b\r\n" * 100_000 + b"\r\n", 431),
    "connect": (b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", 501),
    "connect with a body and an offer": (b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n" + UPGRADE + b"content-length: 2\r\n\r\nab", 501),
    "an offer with length and chunked": (POST + UPGRADE + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "an offer with two hosts": (GET + UPGRADE + b"host: y\r\n\r\n", 400),
    "an offer and a chunk that is none": (POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\nx\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}  # fmt: skip


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_it_is_refused_and_nothing_of_it_reaches_the_application(autojump_clock: MockClock, data: bytes, status: int) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(data)
        await client.send(SMUGGLED)
        response = await client.response("GET")
        assert (response.status, response["connection"], response.json["id"]) == (status, "close", None)
        assert await client.closed()
        assert app.seen == []
        assert (await wire.connect().ask()).status == 200


@pytest.mark.parametrize(("data", "bodies"), [
    (b"\r\n\r\n" + GET + b"\r\n", [b""]),
    (POST + b"content-length: 5\r\n\r\n0\r\n\r\n", [b"0\r\n\r\n"]),
    (POST + b"content-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, [SMUGGLED]),
    (CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), [SMUGGLED]),
    (CHUNKED + b"1;" + b"a" * 100 + b"\r\na\r\n00000\r\n\r\n", [b"a"]),
    (POST + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", [b"a"]),
    (GET + b"content-length: 1\r\n\r\na", [b"a"]),
    (GET + b"x-content-length: 5\r\n\r\n", [b""]),
    (b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n", [b""]),
], ids=["leading empty lines", "a body that looks chunked", "a body that looks like a request", "a chunk that looks like a request", "chunk extension",
        "names and codings in capitals", "GET with a body", "a header that resembles one", "two spaces after the method"])  # fmt: skip
async def test_what_has_one_reading_is_served(autojump_clock: MockClock, data: bytes, bodies: list[bytes]) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(data)
        client.half_close()
        answers = await client.rest()
    assert [seen.body for seen in app.seen] == bodies
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * len(bodies)


@pytest.mark.parametrize(("request_", "body"), [
    (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", b""),
    (GET + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n", b""),
    (POST + UPGRADE + b"content-length: 2\r\n\r\nab", b"ab"),
    (POST + UPGRADE + b"content-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, SMUGGLED),
    (POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nupgrade: x\r\n\r\n" % (len(SMUGGLED), SMUGGLED), SMUGGLED),
    (POST + UPGRADE + b"expect: 100-continue\r\ncontent-length: 0\r\n\r\n", b""),
], ids=["websocket", "h2c", "a body", "a body that looks like a request", "chunks", "an empty body"])  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_an_offer_of_another_protocol_is_ignored_and_what_follows_is_http(autojump_clock: MockClock, request_: bytes, body: bytes, size: int) -> None:
    """RFC 9110, 7.8. To the parser what follows is the other protocol: bodies and requests behind it must be read as what they are all the same."""
    app = Recorder()
    data = request_ * 3 + GET + b"\r\n"
    async with open_wire(app) as wire:
        client = wire.connect()
        for at in range(0, len(data), size):
            await client.send(data[at : at + size])
            await wait_all_tasks_blocked()
        answers = [await client.response("GET") for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert [seen.body for seen in app.seen] == [body, body, body, b""]
    assert all(b"upgrade" not in dict(seen.headers) for seen in app.seen)


async def test_a_connection_that_ends_with_an_offer_ends(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(POST + b"connection: close, upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nab" + SMUGGLED)
        response = await client.response()
        assert (response.status, response["connection"], await client.closed()) == (200, "close", True)
    assert [seen.body for seen in app.seen] == [b"ab"]
