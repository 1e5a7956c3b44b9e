"""Rows of `http_requests`: bytes for the HTTP/1.1 server, and what it must make of them.

A row: `send`; `end` if the client sends nothing more afterwards; `answers`, the statuses in order; `then`, what becomes of the connection: "open" for
the next request, "closed" at once, or "waits" for more, until `late` is answered and it is closed; `reached`, the methods that the upstream is asked.
Each is sent whole and byte by byte, with the same outcome but for what is under `slowly`; those that are `at_once` are only sent whole. What is expected is what RFC 9110 and RFC 9112 say.
"""
from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from hostile.rows import Part, Row, whole

HEAD_LIMIT, FIELD_LIMIT, BODY_LIMIT = 8192, 50, 10_000
"""The limits of the server that the rows are for."""
LINE = "POST /mcp HTTP/1.1\r\n"
FIELDS = "host: localhost\r\ncontent-type: application/json\r\n"
UNREAD = (204, 403, 404, 405, 406)
"""What the application answers without a look at the body: if that is not here yet, the connection cannot go on."""
TOKEN = set("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def body(method: str = "ping") -> str:
    return f'{{"jsonrpc":"2.0","id":1,"method":"{method}"}}'


PING = body()
LENGTH = f"content-length: {len(PING)}\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"


def request(fields: str = "", line: str = LINE, content: str = PING, fixed: str = FIELDS, length: str | None = None) -> str:
    return f"{line}{fixed}{fields}{LENGTH if length is None else length}\r\n{content}"


def chunked(chunks: str, fields: str = "", line: str = LINE) -> str:
    return f"{line}{FIELDS}{fields}{CHUNKED}\r\n{chunks}"


def chunk(text: str, size: str | None = None, extension: str = "") -> str:
    return f"{len(text):x}{extension}\r\n{text}\r\n" if size is None else f"{size}{extension}\r\n{text}\r\n"


SMUGGLED = f"{LINE}{FIELDS}content-length: {len(body('smuggled'))}\r\n\r\n{body('smuggled')}"
GOOD = request()


def row(family: str, name: str, send: str | list[Part], answers: list[int], then: str = "open", reached: list[str] | None = None, **more: Any) -> Row:
    if reached is None:
        reached = ["ping"] * answers.count(200)
    parts: list[Part] = [send] if isinstance(send, str) else send
    made = {"family": family, "name": f"{family}: {name}", "send": parts, "answers": answers, "then": then, "reached": reached, **more}
    if answers[-1:] and answers[-1] in UNREAD and then == "open" and not whole(parts).endswith(b"\r\n\r\n"):
        made["slowly"] = {"then": "closed"}
    return made


def refused(family: str, name: str, send: str | list[Part], status: int = 400, **more: Any) -> Row:
    """Answered so and closed; a request that follows in the same breath is not served."""
    parts: list[Part] = [send] if isinstance(send, str) else send
    return row(family, name, [*parts, SMUGGLED], [status], "closed", [], **more)


def smuggling_vectors() -> Iterator[Row]:
    """The thirty that every HTTP parser is tried with. "/" is not the endpoint, so what is well formed there is 404."""
    post, get = "POST / HTTP/1.1\r\nhost: localhost\r\n", "GET / HTTP/1.1\r\nhost: localhost\r\n"
    te = post + "transfer-encoding: chunked\r\n\r\n"
    vectors: list[tuple[str, str | list[Part], int]] = [
        ("CL and TE", post + "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("the same CL twice", post + "content-length: 1\r\ncontent-length: 1\r\n\r\na", 400),
        ("two CLs", post + "content-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        ("CL +1", post + "content-length: +1\r\n\r\na", 400),
        ("CL 1, 1", post + "content-length: 1, 1\r\n\r\na", 400),
        ("TE chunked, identity", post + "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        ("TE xchunked", post + "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("TE after a vertical tab", post + "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        ("space before the colon", "GET / HTTP/1.1\r\nhost : localhost\r\n\r\n", 400),
        ("obs-fold", get + "foo: a\r\n b\r\n\r\n", 400),
        ("bare LF", "GET / HTTP/1.1\nhost: localhost\n\n", 400),
        ("bare CR in a value", get + "foo: a\rb\r\n\r\n", 400),
        ("NUL in a value", get + "foo: a\x00b\r\n\r\n", 400),
        ("control character in the target", "GET /\x01 HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("target outside ASCII", "GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
        ("two Hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("LF in a chunk extension", te + "1;a\n\r\na\r\n0\r\n\r\n", 400),
        ("chunks with bare LFs", te + "1\na\n0\n\n", 400),
        ("a huge chunk", te + "fffffffffffffffff\r\n", 400),
        ("HTTP/0.9", "GET /\r\n\r\n", 505),
        ("HTTP/1.9", "GET / HTTP/1.9\r\nhost: localhost\r\n\r\n", 400),
        ("a method in lower case", "get / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("a header of a megabyte", [get + "foo: ", ["a", 1_000_000], "\r\n\r\n"], 431),
        ("100k headers", [get, ["a: b\r\n", 100_000], "\r\n"], 431),
        ("HTTP/1.0 with TE", "POST / HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("an offer to upgrade, with two Hosts", get + "connection: upgrade\r\nupgrade: websocket\r\nhost: b\r\n\r\n", 400),
        ("an offer to upgrade, with two lengths", post + "connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab", 400),
    ]
    for name, data, status in vectors:
        early = {"slowly": {"answers": [404]}} if isinstance(data, str) and data.startswith(te) else {}
        yield refused("thirty vectors", name, data, status, **early)
    yield row("thirty vectors", "leading CRLFs", "\r\n\r\n" + get + "\r\n", [404])
    # The preface of HTTP/2 is answered by HTTP/2, whose rows are in tests/real/test_h2_hostile.py; this is one that goes wrong.
    yield refused("thirty vectors", "half a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")


BAD_LENGTHS = ["+1", "-1", "+0", "-0", "0x1", "0X1", "1 1", "1\t1", "1,1", "1, 1", "1;1", "1.0", "1.", ".1", "1e0", "1a", "a", "a1", "1-", "0b1", "0o1", "1_0", "--1",
               "1/1", '"1"', "'1'", "(1)", "\xb9", "\xa01", "\x0b1", "\x0c1", "1\x0b", "1\x00", "\x001", "18446744073709551616", "99999999999999999999999",
               "184467440737095516160000000000000000001", "", " ", "\t", "%31", "1\x7f", "1\\r", "NaN", "infinity"]  # fmt: skip


def lengths() -> Iterator[Row]:
    for value in BAD_LENGTHS:
        for before in (False, True):
            name, field = repr(value), f"content-length: {value}\r\n"
            fields = (field + FIELDS) if before else (FIELDS + field)
            yield refused("content-length", f"{name} {'before' if before else 'after'} the others", f"{LINE}{fields}\r\na")
    for first, second in product(["1", "2", "01", "40", "0", "", "x"], repeat=2):
        fields = f"content-length: {first}\r\nx: y\r\nContent-Length: {second}\r\n"
        yield refused("content-length", f"{first!r} and {second!r}", f"{LINE}{FIELDS}{fields}\r\n{PING}")
    size = len(PING)
    for value in (f"{size}", f"0{size}", f"{size:020}", f"{size} ", f"\t{size}\t ", f"   {size}"):
        yield row("content-length", f"good {value!r}", request(length=f"content-length:{value}\r\n"), [200])
    for name in ("Content-Length", "CONTENT-LENGTH", "cOnTeNt-LeNgTh"):
        yield row("content-length", f"spelled {name}", request(length=f"{name}: {size}\r\n"), [200])
    for name in ("x-content-length", "content_length", "contentlength", "content-lengths", "content-lengt"):
        yield row("content-length", f"none in {name}", request(f"{name}: 7\r\n"), [200])
    yield row("content-length", "one byte less than there is", request(length=f"content-length: {size - 1}\r\n"), [400, 400], "closed", [], at_once=True)
    yield row("content-length", "zero", request(length="content-length: 0\r\n", content=""), [400], reached=[])
    yield row("content-length", "none, so no body", request(length="", content=""), [400], reached=[])


BAD_CODINGS = ["xchunked", "chunkedx", "chunke", "chunked, identity", "chunked,chunked", "chunked, chunked", "identity", "gzip", "deflate", "\x0bchunked",
               "\x0cchunked", "\x00chunked", "chunked\x00", "chunked\x0b", "chunked;q=1", "chunked;", "chunked\t", '"chunked"', "'chunked'", "chunked\xa0", "\xa0chunked",
               "chu nked", "chunked,", "chunked, ", "trailers", "", " ", "[chunked]", "cow, chunked x", "chunked\x7f", "\\chunked"]  # fmt: skip


def codings() -> Iterator[Row]:
    for value in BAD_CODINGS:
        for chunks in ("0\r\n\r\n", chunk(PING) + "0\r\n\r\n"):
            what = "no chunk" if chunks[0] == "0" else "a chunk"
            yield refused("transfer-encoding", f"{value!r} with {what}", f"{LINE}{FIELDS}transfer-encoding: {value}\r\n\r\n{chunks}")
    for value in ("gzip, chunked", "gzip,chunked", "deflate, chunked", "identity, chunked", "x, chunked", " , chunked", ", chunked"):
        yield refused("transfer-encoding", f"{value!r} (not understood)", f"{LINE}{FIELDS}transfer-encoding: {value}\r\n\r\n{chunk(PING)}0\r\n\r\n", 501)
    for value in ("chunked", "Chunked", "CHUNKED", "  chunked", "chunked ", "\tchunked"):
        yield row("transfer-encoding", f"good {value!r}", f"{LINE}{FIELDS}transfer-encoding:{value}\r\n\r\n{chunk(PING)}0\r\n\r\n", [200])
    for name in ("Transfer-Encoding", "TRANSFER-ENCODING"):
        yield row("transfer-encoding", f"spelled {name}", f"{LINE}{FIELDS}{name}: chunked\r\n\r\n{chunk(PING)}0\r\n\r\n", [200])
    for name in ("transfer_encoding", "transferencoding", "x-transfer-encoding", "transfer-encodings", "te"):
        yield row("transfer-encoding", f"none in {name}", request(f"{name}: chunked\r\n"), [200])
    for first, second in product(["chunked", "identity", "gzip", "x"], repeat=2):
        fields = f"transfer-encoding: {first}\r\ntransfer-encoding: {second}\r\n"
        understood = (first, second) not in [("identity", "chunked"), ("gzip", "chunked"), ("x", "chunked")]
        yield refused("transfer-encoding", f"{first} and {second}", f"{LINE}{FIELDS}{fields}\r\n0\r\n\r\n", 400 if understood else 501)
    for length, coding, order in product(["0", "4", "5", "40", "1000", "x"], ["chunked", "Chunked", "identity", "gzip", "xchunked"], [0, 1]):
        both = [f"content-length: {length}\r\n", f"transfer-encoding: {coding}\r\n"]
        name = f"CL {length} {'before' if order == 0 else 'after'} TE {coding}"
        yield refused("both lengths", name, f"{LINE}{FIELDS}{both[order]}{both[1 - order]}\r\n0\r\n\r\n")


def every_byte() -> Iterator[Row]:
    """Every byte in every place where an attacker would like it to be read in two ways."""
    for number in range(256):
        byte = chr(number)
        name = f"0x{number:02x}"
        good = byte in TOKEN or byte == ":"
        send = request(f"fo{byte}o: a\r\n")
        yield row("bytes of a field name", name, send, [200]) if good else refused("bytes of a field name", name, send)
        good = number in (9, *range(32, 127), *range(128, 256))
        send = request(f"foo: a{byte}b\r\n")
        yield row("bytes of a field value", name, send, [200]) if good else refused("bytes of a field value", name, send)
        send = request(line=f"POST /mcp?{byte}b HTTP/1.1\r\n")
        yield row("bytes of a target", name, send, [200]) if 33 <= number < 127 else refused("bytes of a target", name, send)
        if byte not in "0123456789abcdefABCDEF":
            send = chunked(chunk(PING, extension=byte) + "0\r\n\r\n")
            yield refused("bytes after a chunk's size", name, send)
        send = chunked(chunk(PING, extension=f";a{byte}b") + "0\r\n\r\n")
        good = byte in TOKEN or byte in "=;"
        yield row("bytes of a chunk extension", name, send, [200]) if good else refused("bytes of a chunk extension", name, send)


def http_requests() -> Iterator[Row]:
    from hostile.make_http_requests_more import more_http_requests

    yield from smuggling_vectors()
    yield from lengths()
    yield from codings()
    yield from every_byte()
    yield from more_http_requests()
