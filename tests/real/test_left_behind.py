"""Nothing left behind while the proxy runs on: after a thousand clients that came and went, politely or not, it holds what it held before.

Looked at from inside, in one process with it: tasks, file descriptors, children, and its own counts.
"""
from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import attrs
import httpx
import pytest
import trio
import trio.testing
from curl import Curl, raw_call
from programs import PATIENCE, PUPPET, Program, until

from shadowproxy import Config, Proxy, Timeouts, Upstream, open_proxy

CLIENTS, SESSIONS = 1000, 60
AT_ONCE = 10
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST."""


@pytest.fixture(scope="module")
def http_behind() -> Iterator[str]:
    with Program([*PUPPET, "--http", "0"]) as server:
        yield server.url


@attrs.frozen
class Held:
    """What this process holds, less the connections that wait in the proxy's pool for the next client."""

    tasks: int
    fds: int
    children: int
    counts: tuple[tuple[str, int], ...]

    @classmethod
    def now(cls, proxy: Proxy) -> Held:
        counts = proxy.statistics()
        busy = [(name, counts[name]) for name in ("exchanges", "exchanges_waiting", "connections", "sessions", "pool_leased", "children") if name in counts]
        children = sum(len((task / "children").read_text().split()) for task in Path("/proc/self/task").iterdir())
        fds = len(os.listdir("/proc/self/fd")) - counts.get("pool_idle", 0)
        return cls(trio.lowlevel.current_statistics().tasks_living, fds, children, tuple(busy))


async def at_rest(proxy: Proxy) -> Held:
    """What it holds once everything that has begun has also ended."""
    await until(lambda: proxy.statistics()["exchanges"] + proxy.statistics()["connections"] == 0)
    await until(lambda: proxy.statistics().get("children_warm", 1) == 1)
    await trio.testing.wait_all_tasks_blocked(0.05)
    return Held.now(proxy)


async def comes_back_to(before: Held, proxy: Proxy) -> None:
    """Fails, and shows the difference, unless the proxy soon holds exactly that again."""
    with trio.move_on_after(PATIENCE):
        while Held.now(proxy) != before:
            await trio.sleep(0.05)
    assert Held.now(proxy) == before, proxy.statistics()


async def visit_all(visits: Iterator[Callable[[], Awaitable[None]]]) -> None:
    """Make the visits, some at once."""

    async def visitor() -> None:
        for visit in visits:
            with trio.fail_after(PATIENCE):
                await visit()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(visitor)


# ---------------------------------------------------- HTTP behind: clients, most of them rude

Behaviour = Callable[[trio.SocketStream], Awaitable[None]]


async def polite(stream: trio.SocketStream) -> None:
    for _ in range(2):
        await stream.send_all(raw_call("echo", {"text": "twice on one connection"}))
        await hear(stream, b"twice on one connection")


async def silent(stream: trio.SocketStream) -> None:
    """It connects and leaves."""


async def half_a_head(stream: trio.SocketStream) -> None:
    await stream.send_all(raw_call("echo", {})[:60])


async def half_a_body(stream: trio.SocketStream) -> None:
    await stream.send_all(raw_call("echo", {"text": "x" * 1000})[:-500])


async def impatient(stream: trio.SocketStream) -> None:
    """It does not wait for the answer."""
    await stream.send_all(raw_call("echo", {"delay": 0.02}))


async def half_closed(stream: trio.SocketStream) -> None:
    await stream.send_all(raw_call("echo", {"delay": 0.01}))
    await stream.send_eof()
    while await stream.receive_some():
        pass


async def gone_mid_stream(stream: trio.SocketStream) -> None:
    await stream.send_all(raw_call("hang", {}, progressToken=1))
    await hear(stream, b"notifications/progress")


async def gone_amid_a_flood(stream: trio.SocketStream) -> None:
    await stream.send_all(raw_call("endless", {}, progressToken=1))
    await hear(stream, b"notifications/progress")


async def no_http_at_all(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x16\x03\x01\x02\x00 some other protocol\r\n\r\n")
    await hear(stream, b" 400 ")


async def hear(stream: trio.SocketStream, words: bytes) -> None:
    said = b""
    while words not in said:
        chunk = await stream.receive_some()
        assert chunk, f"it only said {said!r}"
        said += chunk


BEHAVIOURS = (polite, silent, half_a_head, half_a_body, impatient, half_closed, gone_mid_stream, gone_amid_a_flood, no_http_at_all)


def rude_clients(port: int, number: int) -> Iterator[Callable[[], Awaitable[None]]]:
    """Every behaviour in turn, each with a proper end of the connection and with a reset."""

    def visit(behave: Behaviour, abruptly: bool) -> Callable[[], Awaitable[None]]:
        async def come_and_go() -> None:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await behave(stream)
                if abruptly:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        return come_and_go

    every = [visit(behave, abruptly) for behave in BEHAVIOURS for abruptly in (False, True)]
    return islice(cycle(every), number)


async def test_a_thousand_clients_in_front_of_http(http_behind: str) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    config = Config(listen=("127.0.0.1:0",), upstream=Upstream(url=http_behind))
    async with open_proxy(config) as proxy:
        port = httpx.URL(proxy.addresses[0]).port
        assert port is not None
        untouched = await at_rest(proxy)
        await visit_all(rude_clients(port, CLIENTS))
        await comes_back_to(untouched, proxy)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


# ---------------------------------------------------- stdio behind: sessions with a child each

async def ended(curl: Curl) -> None:
    """With a DELETE; and what it was told unasked it had listened to."""
    async with curl.following(curl.standing()):
        await curl.call(1, "echo", {})
    assert (await curl.http.delete(curl.url, headers=curl.session)).is_success


async def abandoned(curl: Curl) -> None:
    await curl.call(1, "echo", {})


async def abandoned_mid_call(curl: Curl) -> None:
    async with curl.following(curl.tool_call(1, "hang", {}, progressToken=1)) as said:
        await said.receive()


async def child_killed(curl: Curl) -> None:
    pid = (await curl.call(1, "pid", {})).json()["result"]["content"][0]["text"]
    os.kill(int(pid), signal.SIGKILL)


async def child_killed_mid_call(curl: Curl) -> None:
    pid = (await curl.call(1, "pid", {})).json()["result"]["content"][0]["text"]
    async with curl.following(curl.tool_call(2, "hang", {}, progressToken=1)) as said:
        await said.receive()
        os.kill(int(pid), signal.SIGKILL)
        last = [message async for message in said][-1]
        assert last["error"]["data"]["name"] == "upstream_exited"


def sessions(url: str, number: int) -> Iterator[Callable[[], Awaitable[None]]]:
    def visit(behave: Callable[[Curl], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def come_and_go() -> None:
            async with Curl(url, "legacy", leaves=True) as curl:
                await behave(curl)

        return come_and_go

    return islice(cycle(map(visit, (ended, abandoned, abandoned_mid_call, child_killed, child_killed_mid_call))), number)


async def test_sessions_with_a_child_each() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    timeouts = Timeouts(request=3, session_idle=3, session_listening=3, child_grace=1)
    config = Config(listen=("127.0.0.1:0",), upstream=Upstream(command=(*PUPPET, "--stdio")), timeouts=timeouts)
    async with open_proxy(config) as proxy:
        untouched = await at_rest(proxy)
        await visit_all(sessions(proxy.addresses[0], SESSIONS))
        await comes_back_to(untouched, proxy)
        assert proxy.statistics()["children_spawned"] == SESSIONS + 1
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_thousand_clients_of_one_child() -> None:
    config = Config(listen=("127.0.0.1:0",), upstream=Upstream(command=(*PUPPET, "--stdio")))
    async with open_proxy(config) as proxy:
        port = httpx.URL(proxy.addresses[0]).port
        assert port is not None
        await visit_all(rude_clients(port, 2 * len(BEHAVIOURS)))  # the shared child, and the warm one after it
        before = await at_rest(proxy)
        await visit_all(rude_clients(port, CLIENTS))
        await comes_back_to(before, proxy)
        assert proxy.statistics()["child_restarts"] == 0


async def test_a_client_that_leaves_while_its_child_is_spawned_leaves_no_child() -> None:
    """With room for three children, a fourth that nobody knows of would lock everybody out."""
    config = Config(listen=("127.0.0.1:0",), upstream=Upstream(command=(*PUPPET, "--stdio"), share=False, pool=3, warm=0), timeouts=Timeouts(child_grace=1))
    async with open_proxy(config) as proxy:
        port = httpx.URL(proxy.addresses[0]).port
        assert port is not None
        for step in range(100):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(raw_call("pid", {}))
                await trio.sleep(step * 0.0002)
            await until(lambda: proxy.statistics()["exchanges"] + proxy.statistics()["connections"] == 0)
        async with Curl(proxy.addresses[0], "modern") as curl:
            with trio.fail_after(PATIENCE):
                answers = await visit_together(curl, 3)
        assert [answer.status_code for answer in answers] == [200] * 3
        assert proxy.statistics()["children"] <= 3


async def visit_together(curl: Curl, number: int) -> list[httpx.Response]:
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await curl.call(1, "echo", {"delay": 0.2}))

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(ask)
    return answers
