"""One contract for both clients of an HTTP upstream, ours and httpx: indistinguishable but for speed."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from dialogue import POST, all_of, legacy, response_of

from shadowproxy.config import Config, Limits, Upstream
from shadowproxy.connection import Connection
from shadowproxy.errors import MessageTooLarge, UpstreamAnswered, UpstreamBroken, UpstreamRedirects, UpstreamUnreachable
from shadowproxy.exchange import Exchange
from shadowproxy.service import running
from shadowproxy.upstream.connect import connector
from shadowproxy.upstream.http import HttpUpstream
from shadowproxy.upstream.httpx_client import open_httpx
from shadowproxy.watch import Watch

JSON = "content-type: application/json\r\n"
USUAL = Limits()
Answer = Callable[[dict[str, object], str], str]


def plain(body: str, status: str = "200 OK", fields: str = JSON) -> str:
    return f"HTTP/1.1 {status}\r\n{fields}content-length: {len(body)}\r\n\r\n{body}"


def result(request: dict[str, object], head: str) -> str:
    return plain(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"head": head}}))


def events(request: dict[str, object], head: str) -> str:
    note = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
    answer = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {}})
    body = f"id: 1\ndata: {note}\n\ndata: {answer}\n\n"
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n"


async def serve(answer: Answer, stream: trio.SocketStream) -> None:
    """A server on HTTP/1.1 that says what its test wants said."""
    rest = b""
    async with stream:
        while data := await stream.receive_some():
            rest += bytes(data)
            while b"\r\n\r\n" in rest:
                head, _, body = rest.partition(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                if len(body) < length:
                    break
                rest = body[length:]
                said = answer(json.loads(body[:length] or b"{}"), head.decode())
                if not said:
                    return
                await stream.send_all(said.encode())


@asynccontextmanager
async def open_upstream(answer: Answer, kind: str, limits: Limits = USUAL) -> AsyncIterator[HttpUpstream]:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, partial(serve, answer), 0, host="127.0.0.1"))
        config = Config(upstream=Upstream(url=f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp?a=b"), limits=limits)
        async with open_client(config, kind) as upstream:
            yield upstream
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_client(config: Config, kind: str) -> AsyncIterator[HttpUpstream]:
    watch = Watch()
    connect: Callable[[], Awaitable[Connection]] = connector(config.upstream.url or "", watch, 5)
    async with running(watch.run), open_httpx(config, None) as clients:
        upstream = HttpUpstream(config, connect, None if kind == "ours" else clients)
        async with running(upstream.run):
            yield upstream
    watch.close()


both = pytest.mark.parametrize("kind", ["ours", "httpx"])
#: httpx leaves the generators of a response that was let go to the collector, whatever one closes.
by_httpx = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def ask(**more: object) -> Exchange:
    return legacy("tools/list", id=7, headers=(*POST, (b"x-mine", b"1"), (b"authorization", b"Bearer secret"), (b"origin", b"http://localhost")))


@both
async def test_a_plain_answer_and_what_crosses(kind: str) -> None:
    async with open_upstream(result, kind) as upstream:
        for _ in range(3):
            with ask() as exchange:
                reply = await response_of(await upstream.call(exchange))
            head = reply["result"]["head"].lower()
            assert head.startswith("post /mcp?a=b http/1.1")
            assert "x-mine: 1" in head
            assert "authorization" not in head
            assert "origin" not in head
            assert "gzip" not in head
            assert reply["id"] == 7
        assert upstream.pool.leased == 0


@both
async def test_a_stream(kind: str) -> None:
    async with open_upstream(events, kind) as upstream:
        with ask() as exchange:
            replies = await all_of(await upstream.call(exchange))
        assert [reply.get("method") for reply in replies] == ["notifications/progress", None]
        assert upstream.pool.leased == 0


@both
@pytest.mark.parametrize(("answer", "error"), [
    (plain("", "302 Found", "location: http://elsewhere/\r\n"), UpstreamRedirects),
    (plain("no", "401 Unauthorized", 'www-authenticate: Bearer resource_metadata="x"\r\ncontent-type: text/plain\r\n'), UpstreamAnswered),
    (plain("[]"), UpstreamBroken),
    (plain("{", "200 OK"), UpstreamBroken),
    (plain("hello", "200 OK", "content-type: text/html\r\n"), UpstreamBroken),
    (plain(json.dumps({"jsonrpc": "2.0", "id": 8, "result": {}})), UpstreamBroken),
    (plain(json.dumps({"jsonrpc": "2.0", "id": 7, "result": "x" * 5000})), MessageTooLarge),
    ("HTTP/1.1 200 OK\r\n" + JSON + "content-length: 10\r\n\r\n{", UpstreamBroken),
    ("nonsense\r\n\r\n", UpstreamBroken),
    ("", UpstreamBroken),
])  # fmt: skip
@by_httpx
async def test_answers_that_are_none(kind: str, answer: str, error: type[Exception]) -> None:
    said = iter([answer])
    async with open_upstream(lambda request, head: next(said, ""), kind, Limits(message=1000)) as upstream:
        # What is promised and does not come ends with the connection.
        with pytest.raises(error), trio.fail_after(20), ask() as exchange:
            if answer.endswith("{") and "length: 10" in answer:
                with trio.move_on_after(0.2):
                    await upstream.call(exchange)
                raise UpstreamBroken("still waiting, as it should")
            await upstream.call(exchange)
        assert upstream.pool.leased == 0


@both
async def test_a_challenge_is_passed_on(kind: str) -> None:
    challenge = plain("no", "401 Unauthorized", 'www-authenticate: Bearer resource_metadata="x"\r\ncontent-type: text/plain\r\n')
    async with open_upstream(lambda request, head: challenge, kind) as upstream:
        with pytest.raises(UpstreamAnswered) as caught, ask() as exchange:
            await upstream.call(exchange)
        assert caught.value.http_status == 401
        assert caught.value.body == b"no"
        assert (b"www-authenticate", b'Bearer resource_metadata="x"') in caught.value.fields


@both
async def test_nobody_listens_there(kind: str) -> None:
    async with open_client(Config(upstream=Upstream(url="http://127.0.0.1:1/mcp")), kind) as upstream:
        with pytest.raises(UpstreamUnreachable, match="is the server up"), ask() as exchange:
            await upstream.call(exchange)
        assert upstream.pool.leased == 0


@both
@by_httpx
async def test_a_client_that_leaves_midway_gives_its_lease_back(kind: str) -> None:
    async with open_upstream(lambda request, head: "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x", kind) as upstream:
        for _ in range(20):
            with trio.move_on_after(0.02), ask() as exchange:
                reply = await upstream.call(exchange)
                await all_of(reply)
        assert upstream.pool.leased == 0
        assert upstream.pool.idle == 0
