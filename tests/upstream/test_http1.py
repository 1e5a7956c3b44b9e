"""Our HTTP/1.1 client against servers good and bad, over streams that deliver exactly the pieces they were given."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import attrs
import pytest
import trio
import trio.testing
from cancelling import Sword, cancel_everywhere, virtually
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowproxy.connection import StreamConnection
from shadowproxy.errors import MessageTooLarge, ProxyError, UpstreamBroken
from shadowproxy.upstream.http1 import FRESH, MAX_FIELDS, MAX_HEAD, HttpClient

REQUEST = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
LIMIT = 1 << 20
Stapled: TypeAlias = "trio.StapledStream[Any, Any]"  # in memory, of either kind


@attrs.frozen
class Result:
    """What a client made of an answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    usable: bool


@attrs.frozen
class Failure:
    kind: type[ProxyError]
    usable: bool


def pair() -> tuple[HttpClient, Stapled]:
    ours, theirs = trio.testing.lockstep_stream_pair()
    return HttpClient(StreamConnection(ours, 30), LIMIT), theirs


async def answer(theirs: Stapled, pieces: Sequence[bytes], eof: bool) -> None:
    """Take a request, and send the pieces one by one."""
    try:
        got = b""
        while not got.endswith(REQUEST):
            data = bytes(await theirs.receive_some(65536))
            if not data:
                return
            got += data
        for piece in pieces:
            await theirs.send_all(piece)
        if eof:
            await theirs.send_stream.aclose()
    except trio.BrokenResourceError:
        pass  # the client has seen enough


async def exchange(pieces: Sequence[bytes], eof: bool = False) -> Result | Failure:
    client, theirs = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, theirs, pieces, eof)
        try:
            await client.request(REQUEST)
            body = await client.body()
        except ProxyError as error:
            return Failure(type(error), client.usable())
        finally:
            nursery.cancel_scope.cancel()
        return Result(client.status, tuple(client.headers), body, client.usable())


def ask(*pieces: bytes, eof: bool = False) -> Result | Failure:
    return virtually(lambda: exchange(pieces, eof))


def good(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, usable: bool = True) -> Result:
    return Result(status, tuple(headers), body, usable)


CHUNKED = (b"transfer-encoding", b"chunked")
BROKEN = Failure(UpstreamBroken, False)
#: answer, whether the server closes after it, what becomes of it
ANSWERS: list[tuple[bytes, bool, Result | Failure]] = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", False, good(200, [(b"content-length", b"2")], b"{}")),
    (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", False, good(202, [(b"content-length", b"0")], b"")),
    (b"HTTP/1.1 204 No Content\r\n\r\n", False, good(204, [], b"")),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", False, good(304, [], b"")),
    # chunks, with extensions and trailers
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3;x=y\r\nabc\r\n0\r\n\r\n", False, good(200, [CHUNKED], b"{}abc")),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\nStatus: 500\r\n\r\n", False, good(200, [CHUNKED], b"{}")),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nConnection: close\r\n\r\n", False, good(200, [CHUNKED], b"", usable=False)),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, good(200, [CHUNKED], b"")),
    # interim answers
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", False, good(200, [(b"content-length", b"2")], b"{}")),
    (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", False,
     good(200, [(b"content-length", b"1")], b"x")),
    # as long as the connection
    (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nall of it", True, good(200, [(b"a", b"b")], b"all of it", usable=False)),
    (b"HTTP/1.1 200 OK\r\n\r\n", True, good(200, [], b"", usable=False)),
    (b"HTTP/1.0 200 OK\r\n\r\nold", True, good(200, [], b"old", usable=False)),
    # kept alive or not
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", False, good(200, [(b"connection", b"close"), (b"content-length", b"1")], b"x", False)),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", False, good(200, [(b"content-length", b"1")], b"x", False)),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", False,
     good(200, [(b"connection", b"keep-alive"), (b"content-length", b"1")], b"x")),
    # too short
    (b"", True, BROKEN),
    (b"HTTP/1.1 200", True, BROKEN),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", True, BROKEN),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", True, BROKEN),
    (b"HTTP/1.1 100 Continue\r\n\r\n", True, BROKEN),
    # wrong
    (b"SSH-2.0-OpenSSH_9.2\r\n", False, BROKEN),
    (b"\x16\x03\x01\x02\x00\x01", False, BROKEN),
    (b"HTTP/1.1 2x0 OK\r\n\r\n", False, BROKEN),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", False, BROKEN),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", False, BROKEN),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, BROKEN),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False, BROKEN),
    (b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", False, BROKEN),
    (b"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n", False, BROKEN),
    (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello", False, BROKEN),
]


def ids(answers: list[tuple[bytes, bool, Result | Failure]]) -> list[str]:
    return [ascii(data[:60].decode("latin-1")) for data, _, _ in answers]


@pytest.mark.parametrize(("data", "eof", "result"), ANSWERS, ids=ids(ANSWERS))
def test_answers_whole_and_byte_by_byte(data: bytes, eof: bool, result: Result | Failure) -> None:
    assert ask(*([data] if data else []), eof=eof) == result
    assert ask(*[data[i : i + 1] for i in range(len(data))], eof=eof) == result


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([one for one in ANSWERS if one[0]]), st.lists(st.integers(min_value=0), max_size=6))
def test_any_cut_gives_the_same(case: tuple[bytes, bool, Result | Failure], places: list[int]) -> None:
    data, eof, result = case
    at = sorted({0, *(place % (len(data) + 1) for place in places), len(data)})
    assert ask(*[data[start:end] for start, end in pairwise(at)], eof=eof) == result


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen", b"H", b"garbage", b"\r\nx"])
@pytest.mark.parametrize("together", [True, False])
async def test_what_nobody_asked_for_answers_nobody(autojump_clock: trio.testing.MockClock, extra: bytes, together: bool) -> None:
    """The first answer counts; the connection is not used again, for the rest would answer the next request."""
    ours, theirs = trio.testing.memory_stream_pair()
    client = HttpClient(StreamConnection(ours, 30), LIMIT)
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, theirs, [first + extra] if together else [first], False)
        await client.request(REQUEST)
        assert await client.body() == b"{}"
    if together:
        assert not client.usable()
    else:  # the socket form sees it waiting (`quiet`); where that cannot be seen, the next request fails rather than take it
        await theirs.send_all(extra)
        client.connection.gone = True
        assert not client.usable()


async def test_kept_alive_it_serves_one_request_after_the_other(autojump_clock: trio.testing.MockClock) -> None:
    client, theirs = pair()
    for body in (b"one", b"", b"three"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, theirs, [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), *([body] if body else [])], False)
            await client.request(REQUEST)
            assert (client.status, client.headers, await client.body()) == (200, [(b"content-length", b"%d" % len(body))], body)
        assert client.usable()


@pytest.mark.parametrize("early", [0.0, 7.0])
async def test_an_idle_connection_is_trusted_for_a_while_only(autojump_clock: trio.testing.MockClock, early: float) -> None:
    """A request sent into the moment in which the server closes is lost, and it must not be sent twice."""
    await trio.sleep(early)
    client, theirs = pair()
    assert client.usable()
    await trio.sleep(FRESH + 0.1)
    assert not client.usable(), "never used, and stale all the same"

    async def request() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, theirs, [b"HTTP/1.1 204 No Content\r\n\r\n"], False)
            await client.request(REQUEST)

    await request()
    assert client.usable(), "as it is given back"
    await trio.sleep(FRESH - 0.1)
    assert client.usable(), "as it is lent again"
    await request()
    assert client.usable()
    await trio.sleep(FRESH - 0.1)
    assert client.usable(), "the time counts from the last use"
    await trio.sleep(0.2)
    assert not client.usable()


async def test_it_is_unusable_in_the_middle_of_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    client, theirs = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, theirs, [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"ab", b"cd"], False)
        await client.request(REQUEST)
        assert not client.usable()
        await client.pull()
        assert not client.usable()
        await client.pull()
        assert not client.usable(), "its body has not been taken"
        assert client.waiting
        assert client.take() == b"abcd"
        assert client.usable()


async def test_aborted_it_is_unusable_and_so_is_one_whose_peer_left(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = pair()
    assert client.usable()
    client.abort()
    assert not client.usable()
    other, _ = pair()
    other.connection.gone = True
    assert not other.usable()


# --- sizes

def test_a_body_past_the_limit_is_refused_as_the_upstreams_fault() -> None:
    for framing in (b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (LIMIT + 1), b"A: b\r\n\r\n"):
        assert ask(b"HTTP/1.1 200 OK\r\n" + framing, b"x" * (LIMIT + 1)) == Failure(MessageTooLarge, False)
    fits = ask(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LIMIT, b"x" * LIMIT)
    assert isinstance(fits, Result)
    assert len(fits.body) == LIMIT


async def test_a_stream_has_no_limit_but_what_its_reader_leaves(autojump_clock: trio.testing.MockClock) -> None:
    client, theirs = pair()
    piece = b"x" * (LIMIT // 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, theirs, [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (5 * len(piece)), *[piece] * 5], False)
        await client.request(REQUEST)
        client.streaming = True
        size = 0
        while not client.complete:
            await client.pull()
            size += len(client.take())
        assert size == 5 * len(piece)


@pytest.mark.parametrize("endless", [
    [b"HTTP/1.1 200 ", *[b"x" * 10_000] * 50],                                     # a reason
    [b"HTTP/1.1 200 OK\r\nA: ", *[b"x" * 10_000] * 50],                            # a value
    [b"HTTP/1.1 200 OK\r\n", *[b"x" * 10_000] * 50],                               # a name
    [b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n" * 100] * 50],                           # fields
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", *[b"x" * 10_000] * 50],      # an extension of a chunk
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", *[b"A: b\r\n" * 1000] * 50],  # trailers
], ids=["reason", "value", "name", "fields", "extension", "trailers"])
def test_a_head_without_end_is_refused(endless: list[bytes]) -> None:
    assert ask(*endless) == BROKEN


def test_heads_within_the_bounds_pass() -> None:
    many = ask(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_FIELDS - 1) + b"Content-Length: 0\r\n\r\n")
    assert isinstance(many, Result)
    long = ask(b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD - 100) + b"\r\n", b"Content-Length: 0\r\n\r\n")
    assert isinstance(long, Result)


# --- a server that does not take the request

async def test_a_server_that_does_not_read_is_told_of_as_broken(autojump_clock: trio.testing.MockClock) -> None:
    client, _ = pair()
    with pytest.raises(UpstreamBroken, match="did not take the request: the peer did not read for 30 s"):
        await client.request(REQUEST)
    assert not client.usable()


async def test_a_server_that_closed_is_told_of_as_broken(autojump_clock: trio.testing.MockClock) -> None:
    client, theirs = pair()
    await theirs.aclose()
    with pytest.raises(UpstreamBroken):
        await client.request(REQUEST)
    assert not client.usable()


def test_cancelled_at_every_step_it_is_usable_only_if_the_answer_is_complete() -> None:
    async def scenario(sword: Sword) -> None:
        client, theirs = pair()
        body = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, theirs, [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 4\r\n\r\n", b"ab", b"cd"], False)
            with sword():
                await client.request(REQUEST)
                body = await client.body()
            assert client.usable() == (body == b"abcd")
            client.abort()
            nursery.cancel_scope.cancel()

    assert cancel_everywhere(scenario) > 8
