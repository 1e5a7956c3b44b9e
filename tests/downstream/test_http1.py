"""Our HTTP/1.1 server's framing: whatever the cut of the bytes, the same exchanges, within the limits, and nobody's bytes in another's request."""
from __future__ import annotations

import re
from itertools import pairwise

import pytest
from asgi_apps import Event, Receive, Recorder, Seen, Send, answer, at_once, trickle
from cancelling import virtually
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import HOST, Client, open_wire, request_bytes

from shadowproxy.config import Limits

CHUNKED = b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
TRAILED = b"POST /t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nhost: evil\r\nx-trailer: 1\r\nmcp-session-id: stolen\r\n\r\n"


async def test_what_the_application_is_told(autojump_clock: MockClock) -> None:
    scopes: list[Event] = []

    async def app(scope: Event, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer(send)

    async with open_wire(app) as wire:
        await wire.connect().ask("POST", "/a%20b%C3%A9?x=1&y=%20", b"{}", ((b"X-Mixed", b" padded \t"),))
    (scope,) = scopes
    assert (scope["type"], scope["method"], scope["http_version"], scope["scheme"]) == ("http", "POST", "1.1", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a bé", b"/a%20b%C3%A9", b"x=1&y=%20")
    assert scope["headers"] == [HOST, (b"x-mixed", b"padded"), (b"content-length", b"2")]


@pytest.mark.parametrize(("target", "path", "query"), [
    ("/mcp", "/mcp", b""),
    ("/mcp?", "/mcp", b""),
    ("http://localhost/mcp?x=1", "/mcp", b"x=1"),  # absolute-form (RFC 9112, 3.2.2)
    ("http://LOCALHOST", "/", b""),
    ("http://localhost?x=/mcp", "/", b"x=/mcp"),
    ("/http://x/mcp", "/http://x/mcp", b""),
    ("/%ff", "/\ufffd", b""),
    ("/a%2Fb", "/a/b", b""),
    ("//mcp", "//mcp", b""),
])  # fmt: skip
async def test_targets(autojump_clock: MockClock, target: str, path: str, query: bytes) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        assert (await wire.connect().ask("GET", target)).status == 200
    assert [(seen.path, seen.query) for seen in app.seen] == [(path, query)]


async def test_the_asterisk_of_options(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        assert (await wire.connect().ask("OPTIONS", "*")).status == 200
    assert app.seen[0].path == "*"


async def test_a_connection_is_kept_for_the_next_request(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        for number in (1, 2, 3):
            response = await client.ask(body=b"x" * number)
            assert response.json == {"number": number, "size": number}
            assert response["connection"] is None
        assert wire.server.connections == 1


async def test_pipelined_requests_are_answered_in_order(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(b"".join(request_bytes("POST", f"/{number}", b"x" * number) for number in range(5)) + CHUNKED)
        assert [(await client.response()).json["size"] for _ in range(6)] == [0, 1, 2, 3, 4, 11]
    assert [seen.path for seen in app.seen] == ["/0", "/1", "/2", "/3", "/4", "/c"]


async def test_what_follows_a_request_that_closes_is_not_served(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(request_bytes(connection="close") + request_bytes())
        assert (await client.response())["connection"] == "close"
        assert await client.closed()
    assert len(app.seen) == 1


async def test_a_chunked_body_is_put_together(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(CHUNKED)
        assert (await client.response()).json["size"] == 11
    assert app.seen[0].body == b"hello world"


async def test_trailers_never_become_headers(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(TRAILED + request_bytes())
        assert [(await client.response()).json["number"] for _ in range(2)] == [1, 2]
    first, second = app.seen
    assert first.headers == ((b"host", b"x"), (b"transfer-encoding", b"chunked"))
    assert second.headers == (HOST, (b"content-length", b"0"))


# ---------------------------------------------------- any cut of the bytes
REQUESTS = (request_bytes("POST", "/1", b'{"a": 1}'), CHUNKED, request_bytes("GET", "/2?q"), TRAILED, b"\r\n" + request_bytes("DELETE", "/3"),
            request_bytes("POST", "/4", b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"))  # fmt: skip
BAD = (b"", b"GET /5 HTTP/1.1\r\n\r\n", b"garbage\r\n\r\n", b"CONNECT x:6 HTTP/1.1\r\nhost: x:6\r\n\r\n")


async def exchanges(pieces: list[bytes]) -> tuple[list[Seen], bytes]:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        for piece in pieces:
            await client.send(piece)
            await wait_all_tasks_blocked()  # it is read by itself
        client.half_close()
        return app.seen, await client.rest()


@given(requests=st.lists(st.sampled_from(REQUESTS), max_size=5), end=st.sampled_from(BAD), cuts=st.lists(st.integers(0, 2000), max_size=30))
@settings(deadline=None)
def test_any_cut_of_the_bytes_gives_the_same_exchanges(requests: list[bytes], end: bytes, cuts: list[int]) -> None:
    data = b"".join(requests) + end
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(at) if start != stop]
    seen, answers = virtually(lambda: exchanges(pieces))
    assert (seen, answers) == virtually(lambda: exchanges([data]))
    assert (len(seen), len(re.findall(rb"HTTP/1.1 \d", answers))) == (len(requests), len(requests) + bool(end))


def test_one_byte_at_a_time() -> None:
    data = b"".join(REQUESTS)
    seen, answers = virtually(lambda: exchanges([data[at : at + 1] for at in range(len(data))]))
    assert [one.path for one in seen] == ["/1", "/c", "/2", "/t", "/3", "/4"]
    assert (seen, answers) == virtually(lambda: exchanges([data]))


# ---------------------------------------------------- limits
SMALL = Limits(head=1000, headers=10, body=100)


async def refusal(client: Client, data: bytes) -> tuple[int, str]:
    """Status and words, after which the connection is closed."""
    await client.send(data)
    response = await client.response()
    assert response["connection"] == "close"
    assert await client.closed()
    return response.status, response.json["error"]["message"]


def fields(count: int) -> bytes:
    return b"".join(b"x-%d: y\r\n" % number for number in range(count))


@pytest.mark.parametrize(("data", "status", "setting"), [
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + fields(10) + b"\r\n", 431, "limits.headers"),
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + fields(11), 431, "limits.headers"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 990 + b"\r\n\r\n", 431, "limits.head"),
    (b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431, "limits.head"),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\n\r\n", 413, "limits.body"),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n", 413, "limits.body"),
    (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + b"a" * 101, 413, "limits.body"),
    (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 101, 413, "limits.body"),
    (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + fields(20) + b"\r\n", 431, "limits.headers"),
], ids=["many fields", "many fields of half a head", "long field", "long target", "long body", "huge body", "long chunk", "many chunks", "many trailers"])  # fmt: skip
async def test_past_a_limit(autojump_clock: MockClock, data: bytes, status: int, setting: str) -> None:
    app = Recorder()
    async with open_wire(app, SMALL) as wire:
        found, words = await refusal(wire.connect(), data)
        assert (found, setting in words) == (status, True)
    assert app.seen == []


@pytest.mark.parametrize("start", [
    b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n", b"\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: ",
], ids=["target", "value", "name", "empty lines", "chunk extension", "trailer"])  # fmt: skip
async def test_what_never_ends_is_cut_off(autojump_clock: MockClock, start: bytes) -> None:
    """Bytes that the parser keeps or skips without telling us are counted too."""
    app = Recorder()
    async with open_wire(app, SMALL) as wire:
        client = wire.connect()
        await client.send(start)
        drop = b"\r\n" if start == b"\r\n" else b"a"
        for _ in range(30):
            await client.send(drop * 100)
        assert (await client.response()).status == 431
    assert app.seen == []


async def test_at_the_limits_all_is_well(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app, SMALL) as wire:
        client = wire.connect()
        assert (await client.ask(body=b"a" * 100)).status == 200
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n" + fields(8) + b"\r\n64\r\n" + b"a" * 100 + b"\r\n0\r\n\r\n")
        assert (await client.response()).json["size"] == 100
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n" + fields(9) + b"\r\n")
        assert (await client.response()).status == 200


async def test_limits_are_counted_anew_for_each_request(autojump_clock: MockClock) -> None:
    async with open_wire(Recorder(), SMALL) as wire:
        client = wire.connect()
        for _ in range(20):
            assert (await client.ask(body=b"a" * 60, fields=[(b"x", b"y" * 600)])).status == 200


# ---------------------------------------------------- bodies that nobody reads
async def test_an_answer_before_the_body_has_come_closes_the_connection(autojump_clock: MockClock) -> None:
    async with open_wire(at_once) as wire:
        client = wire.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nGET /smuggled HTTP/1.1")
        response = await client.response()
        assert (response.body, response["connection"]) == (b"done", "close")
        assert await client.closed()


async def test_a_body_that_came_with_its_head_need_not_be_read(autojump_clock: MockClock) -> None:
    async with open_wire(at_once) as wire:
        client = wire.connect()
        await client.send(request_bytes(body=b"x" * 50) * 2)
        assert [(await client.response())["connection"] for _ in range(2)] == [None, None]


# ---------------------------------------------------- HTTP/1.0
async def test_the_elder_protocol_closes_unless_told_otherwise(autojump_clock: MockClock) -> None:
    app = Recorder()
    async with open_wire(app) as wire:
        client = wire.connect()
        await client.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert (await client.response("GET"))["connection"] == "close"
        assert await client.closed()
        client = wire.connect()
        await client.send(b"GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" * 2)
        assert [(await client.response("GET"))["connection"] for _ in range(2)] == ["keep-alive"] * 2
    assert [seen.version for seen in app.seen] == ["1.0"] * 3


async def test_the_elder_protocol_has_no_chunks(autojump_clock: MockClock) -> None:
    async with open_wire(trickle) as wire:
        client = wire.connect()
        await client.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert (body, b"chunked" in head, b"connection: close" in head) == (b"one two three", False, True)
