"""Streams in memory and over a socket, under Trio and asyncio; and the transport that the SDK's clients take."""
from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import pytest
import trio
import trio.testing
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from shadowproxy.testing.streams import SocketStream, TrioStream, open_transport

BACKENDS = pytest.mark.parametrize("backend", ["trio", "asyncio"])
LARGE = b"x" * 3_000_000


def run(backend: str, function: Callable[[], Awaitable[None]]) -> None:
    """Under either event loop, and not for ever."""

    async def bounded() -> None:
        with anyio.fail_after(30):
            await function()

    anyio.run(bounded, backend=backend)


async def all_of(stream: anyio.abc.ByteStream) -> bytes:
    return b"".join([part async for part in stream])


@BACKENDS
def test_a_socket_carries_more_than_it_holds_and_says_when_it_ends(backend: str) -> None:
    async def converse() -> None:
        one, other = map(SocketStream, socket.socketpair())
        async with one, other, anyio.create_task_group() as group:

            async def say() -> None:
                await one.send(LARGE)
                await one.send_eof()

            group.start_soon(say)
            assert await all_of(other) == LARGE
            await other.send(b"still open this way")
            assert await one.receive() == b"still open this way"

    run(backend, converse)


async def test_trios_streams_are_anyios(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with TrioStream(ours.send_stream, ours.receive_stream) as one, TrioStream(theirs.send_stream, theirs.receive_stream) as other:
        await one.send(b"a line\n")
        assert await other.receive() == b"a line\n"
        await one.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await other.receive()


@BACKENDS
def test_the_transport_has_messages_for_lines(backend: str) -> None:
    async def converse() -> None:
        ours, theirs = map(SocketStream, socket.socketpair())
        async with ours, theirs, open_transport(ours) as (read, write):
            await write.send(SessionMessage(jsonrpc_message_adapter.validate_json(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')))
            assert await theirs.receive() == b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
            await theirs.send(b'{"jsonrpc":"2.0","id":1,')
            await theirs.send(b'"result":{"a":1}}\n{"jsonrpc":"2.0","method":"notifications/x"}\n')
            assert (await read.receive()).message.result == {"a": 1}
            assert (await read.receive()).message.method == "notifications/x"
            await theirs.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await read.receive()

    run(backend, converse)


@BACKENDS
def test_a_client_that_leaves_with_messages_unread_is_let_go(backend: str) -> None:
    async def converse() -> None:
        ours, theirs = map(SocketStream, socket.socketpair())
        async with ours, theirs:
            async with open_transport(ours) as (read, write):
                await theirs.send(b'{"jsonrpc":"2.0","method":"notifications/x"}\n' * 3)
                await write.aclose()
                await read.aclose()

    run(backend, converse)
