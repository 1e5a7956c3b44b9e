"""The end of a proxy that is a process of its own: bounded whatever its client, its upstream and its children do, and nobody is left.

The bound is `--drain-timeout` and the stages that `shadowproxy/server.py` names. "Nobody" is looked for in /proc: whatever descends from the
proxy carries its mark, in whichever session or group it hides.
"""
from __future__ import annotations

import errno
import json
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx
import pytest
import trio
from curl import HELLO, META, Curl, raw_call
from programs import PATIENCE, PUPPET, SHADOWPROXY, Program, until

from shadowproxy.cli import exits
from shadowproxy.config import Timeouts
from shadowproxy.server import LAST_WORDS
from shadowproxy.sessions.table import COURTESY

Json = dict[str, Any]
CONSTANT = LAST_WORDS + COURTESY + 2 * Timeouts().child_grace
EXIT = 1.0
"""Seconds for an interpreter on a busy machine to notice, to finish and to be reaped."""
SOON = 3.0
"""Seconds for an end that nobody holds up, on a busy machine too; far below the drain timeouts given beside it."""
LONG = 60.0
STDIO = ("--", *PUPPET, "--stdio")
DEAF = (*STDIO, "--deaf", "--family")


def bound(drain: float) -> float:
    return drain + CONSTANT + EXIT


@pytest.fixture(scope="module")
def http_behind() -> Iterator[str]:
    with Program([*PUPPET, "--http", "0"]) as server:
        yield server.url


@pytest.fixture(params=["http", "stdio"])
def behind(request: pytest.FixtureRequest, http_behind: str) -> Sequence[str]:
    return [http_behind] if request.param == "http" else STDIO


@pytest.fixture(params=["legacy", "modern"])
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reverse(drain: float, target: Sequence[str]) -> Program:
    return Program([*SHADOWPROXY, "reverse", "--listen", "127.0.0.1:0", "--drain-timeout", str(drain), *target])


def forward(drain: float, target: Sequence[str]) -> Program:
    return Program([*SHADOWPROXY, "forward", "--drain-timeout", str(drain), *target], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


# ---------------------------------------------------- HTTP in front

async def test_an_idle_connection_is_closed_at_once(behind: Sequence[str], era: str) -> None:
    with reverse(LONG, behind) as proxy, closing(connect(proxy.url)) as unused:
        async with Curl(proxy.url, era, leaves=True) as curl:
            await curl.call(1, "echo", {"text": "and now idle"})
            proxy.signal(signal.SIGTERM)
            await proxy.gone(SOON)
        assert unused.recv(1) == b""
        assert proxy.status == 0


@pytest.mark.parametrize("tool", ["endless", "huge"])
async def test_a_client_that_never_reads_holds_it_up_for_the_drain_timeout(behind: Sequence[str], tool: str) -> None:
    with reverse(1, behind) as proxy, closing(connect(proxy.url, window=4096)) as sock:
        sock.sendall(raw_call(tool, {"size": 30_000_000}, progressToken=1))
        await trio.lowlevel.wait_readable(sock)
        proxy.signal(signal.SIGTERM)
        assert await proxy.gone(bound(1)) >= 1


async def test_a_hung_upstream_holds_it_up_for_the_drain_timeout_and_its_client_is_told(behind: Sequence[str], era: str) -> None:
    with reverse(0.5, behind) as proxy:
        async with Curl(proxy.url, era, leaves=True) as curl, curl.following(curl.tool_call(7, "hang", {}, progressToken=1)) as said:
            await said.receive()
            signalled = trio.current_time()
            proxy.signal(signal.SIGTERM)
            last = [message async for message in said][-1]
            assert trio.current_time() - signalled >= 0.5
            assert last["id"] == 7
            assert last["error"]["data"]["name"] == "overloaded"
            await proxy.gone(bound(0))


async def test_one_that_waits_for_a_first_answer_is_told_with_a_status(era: str) -> None:
    with reverse(0.5, STDIO) as proxy:
        async with Curl(proxy.url, era, leaves=True) as curl, trio.open_nursery() as nursery:
            answers: list[httpx.Response] = []

            async def ask() -> None:
                answers.append(await curl.call(2, "hang", {"label": "waiting"}))

            nursery.start_soon(ask)
            while "waiting" not in (await curl.call(1, "running", {})).text:
                await trio.sleep(0.01)
            proxy.signal(signal.SIGTERM)
            await proxy.gone(bound(0.5))
        assert [answer.status_code for answer in answers] == [503]
        assert answers[0].headers["retry-after"]
        assert answers[0].json()["id"] == 2


async def test_children_that_ignore_everything_and_their_children_are_gone() -> None:
    with reverse(1, DEAF) as proxy:
        async with Curl(proxy.url, "legacy", leaves=True) as one, Curl(proxy.url, "modern") as other:
            for curl in (one, other):
                await curl.call(1, "echo", {"text": "a child of one's own"})
            assert len(proxy.family()) >= 6  # the proxy, its warden, two children and two grandchildren
            proxy.signal(signal.SIGTERM)
            await proxy.gone(bound(1))
        assert proxy.status == 0


async def test_a_standing_stream_ends_properly_and_at_once(behind: Sequence[str], era: str) -> None:
    with reverse(LONG, behind) as proxy:
        async with Curl(proxy.url, era, leaves=True) as curl, curl.following(curl.standing()) as said:
            if era == "modern":
                assert (await said.receive())["method"] == "notifications/subscriptions/acknowledged"
            proxy.signal(signal.SIGTERM)
            told = [message async for message in said]
            if era == "modern":
                (result,) = told
                assert result["id"] == result["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "s"
            await proxy.gone(SOON)


async def test_a_second_signal_cuts_it_short(behind: Sequence[str], era: str) -> None:
    number = signal.SIGINT if era == "legacy" else signal.SIGTERM
    with reverse(LONG, behind) as proxy:
        async with Curl(proxy.url, era, leaves=True) as curl:
            with pytest.RaisesGroup(httpx.TransportError, flatten_subgroups=True):
                async with curl.following(curl.tool_call(1, "hang", {}, progressToken=1)) as said:
                    await said.receive()
                    proxy.signal(number)
                    await until(lambda: refused(proxy.url))
                    assert not proxy.ended
                    proxy.signal(number)
                    await trio.sleep_forever()  # until the stream breaks off
            await proxy.gone(SOON)
        assert proxy.status == exits.CUT_SHORT


async def test_what_is_under_way_finishes_and_newcomers_are_refused(behind: Sequence[str], era: str) -> None:
    with reverse(LONG, behind) as proxy, closing(connect(proxy.url)) as half:
        half.sendall(raw_call("echo", {"text": "late"})[:50])
        async with Curl(proxy.url, era, leaves=True) as curl:
            await curl.call(1, "echo", {"text": "so the half request has been seen too"})
            async with curl.following(curl.tool_call(2, "count", {"steps": 3, "pause": 0.3}, progressToken=1)) as said:
                await said.receive()
                proxy.signal(signal.SIGTERM)
                await until(lambda: refused(proxy.url))
                half.sendall(raw_call("echo", {"text": "late"})[50:])
                await trio.lowlevel.wait_readable(half)
                answer = half.recv(65536)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after" in answer
                finished = [message async for message in said]
            assert [message["params"]["progress"] for message in finished[:-1]] == [2, 3]
            assert finished[-1]["result"]["content"][0]["text"] == "it counted to 3"
            await proxy.gone(SOON)
        assert proxy.status == 0


# ---------------------------------------------------- stdio in front

async def test_the_end_of_input_is_a_drain(behind: Sequence[str], era: str) -> None:
    with forward(LONG, behind) as proxy:
        converse(proxy, era)
        tell(proxy, era, "count", {"steps": 3, "pause": 0.1}, progressToken=1)
        assert (await hear(proxy))["method"] == "notifications/progress"
        assert proxy.process.stdin is not None
        proxy.process.stdin.close()
        assert [(await hear(proxy))["params"]["progress"] for _ in range(2)] == [2, 3]
        assert (await hear(proxy))["id"] == 1
        await proxy.gone(SOON)
        assert proxy.status == 0


async def test_a_call_that_was_cancelled_is_not_waited_for(behind: Sequence[str], era: str) -> None:
    with forward(LONG, behind) as proxy:
        converse(proxy, era)
        tell(proxy, era, "hang", {}, progressToken=1)
        await hear(proxy)
        write(proxy, {"method": "notifications/cancelled", "params": {"requestId": 1}})
        assert proxy.process.stdin is not None
        proxy.process.stdin.close()
        await proxy.gone(SOON)
        assert proxy.process.stdout is not None
        assert proxy.process.stdout.read() == b""


@pytest.mark.parametrize("how", ["end of input", "signal"])
async def test_a_subscription_on_a_pipe_ends_properly_and_at_once(behind: Sequence[str], how: str) -> None:
    with forward(LONG, behind) as proxy:
        converse(proxy, "modern")
        write(proxy, {"id": "s", "method": "subscriptions/listen", "params": {"notifications": {"toolsListChanged": True}, "_meta": META}})
        assert (await hear(proxy))["method"] == "notifications/subscriptions/acknowledged"
        end(proxy, how)
        result = await hear(proxy)
        assert result["id"] == result["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "s"
        await proxy.gone(SOON)


@pytest.mark.parametrize("how", ["end of input", "signal"])
async def test_a_hung_upstream_holds_a_stdio_proxy_up_for_the_drain_timeout(behind: Sequence[str], era: str, how: str) -> None:
    with forward(0.5, behind) as proxy:
        converse(proxy, era)
        tell(proxy, era, "hang", {}, progressToken=1)
        await hear(proxy)
        end(proxy, how)
        told = await hear(proxy)
        assert (told["id"], told["error"]["data"]["name"]) == (1, "overloaded")
        await proxy.gone(bound(0))


async def test_a_client_that_has_closed_both_pipes_is_not_waited_for(behind: Sequence[str], era: str) -> None:
    """It was killed, say, while the upstream hangs and the proxy still has something to tell it."""
    with forward(LONG, behind) as proxy:
        converse(proxy, era)
        tell(proxy, era, "hang", {}, progressToken=1)
        await hear(proxy)
        assert proxy.process.stdout is not None
        proxy.process.stdout.close()
        write(proxy, {"id": "last", "method": "no/such/method", "params": {"_meta": META if era == "modern" else {}}})
        await proxy.gone(SOON)


@pytest.mark.parametrize(("target", "how"), [("http", "end of input"), ("http", "signal"), ("deaf", "signal")])
async def test_a_client_that_does_not_read_its_pipe_holds_it_up_no_longer(http_behind: str, how: str, target: str) -> None:
    with forward(1, [http_behind] if target == "http" else DEAF) as proxy:
        converse(proxy, "modern")
        tell(proxy, "modern", "huge", {"size": 30_000_000})
        assert proxy.process.stdout is not None
        await trio.lowlevel.wait_readable(proxy.process.stdout)
        end(proxy, how)
        await proxy.gone(bound(1))


@pytest.mark.parametrize("front", ["reverse", "forward, end of input", "forward, signal"])
async def test_the_upstream_is_told_that_its_sessions_are_over(http_behind: str, front: str) -> None:
    async with Curl(http_behind, "modern") as itself:
        before = (await itself.call(1, "sessions", {})).text
        with reverse(1, [http_behind]) if front == "reverse" else forward(1, [http_behind]) as proxy:
            if front == "reverse":
                async with Curl(proxy.url, "legacy", leaves=True):
                    assert (await itself.call(1, "sessions", {})).text != before
                    proxy.signal(signal.SIGTERM)
                    await proxy.gone(SOON)
            else:
                converse(proxy, "legacy")
                assert (await itself.call(1, "sessions", {})).text != before
                end(proxy, front.removeprefix("forward, "))
                await proxy.gone(SOON)
        assert (await itself.call(1, "sessions", {})).text == before


# ---------------------------------------------------- no warning at all

@pytest.mark.parametrize("front", ["reverse", "forward"])
async def test_killed_it_leaves_nobody(front: str) -> None:
    if front == "reverse":
        with reverse(LONG, DEAF) as proxy:
            async with Curl(proxy.url, "legacy", leaves=True) as one, Curl(proxy.url, "modern") as other:
                await one.call(1, "echo", {})
                await other.call(1, "echo", {})
                assert len(proxy.family()) >= 6
                proxy.signal(signal.SIGKILL)
                await proxy.gone(2)
    else:
        with forward(LONG, DEAF) as proxy:
            converse(proxy, "legacy")
            assert len(proxy.family()) >= 4
            proxy.signal(signal.SIGKILL)
            await proxy.gone(2)


# ---------------------------------------------------- plain clients

def connect(url: str, *, window: int | None = None) -> socket.socket:
    """A client so plain that it need not read."""
    sock = socket.socket()
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    parts = httpx.URL(url)
    sock.connect((parts.host, parts.port))
    sock.settimeout(PATIENCE)
    return sock


def refused(url: str) -> bool:
    """Whether nobody listens there any more."""
    parts = httpx.URL(url)
    with socket.socket() as sock:
        return sock.connect_ex((parts.host, parts.port)) == errno.ECONNREFUSED


def call(tool: str, arguments: Json, meta: Json) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}}


def converse(proxy: Program, era: str) -> None:
    """The beginning of a conversation on pipes, up to where the proxy has answered once."""
    if era == "legacy":
        write(proxy, {"id": 0, "method": "initialize", "params": HELLO})
    else:
        write(proxy, {"id": 0, "method": "tools/list", "params": {"_meta": META}})
    assert proxy.process.stdout is not None
    assert json.loads(proxy.process.stdout.readline())["id"] == 0
    if era == "legacy":
        write(proxy, {"method": "notifications/initialized"})


def tell(proxy: Program, era: str, tool: str, arguments: Json, **meta: object) -> None:
    write(proxy, call(tool, arguments, {**(META if era == "modern" else {}), **meta}))


def write(proxy: Program, message: Json) -> None:
    assert proxy.process.stdin is not None
    proxy.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    proxy.process.stdin.flush()


async def hear(proxy: Program) -> Json:
    """The next message, of those that concern a call."""
    assert proxy.process.stdout is not None
    with trio.fail_after(PATIENCE):
        while True:
            message: Json = json.loads(await trio.to_thread.run_sync(proxy.process.stdout.readline))
            if message.get("method") != "notifications/tools/list_changed":
                return message


def end(proxy: Program, how: str) -> None:
    if how == "signal":
        proxy.signal(signal.SIGTERM)
    else:
        assert proxy.process.stdin is not None
        proxy.process.stdin.close()
