"""The client's end of a conversation in memory: lines as bytes, or messages as the Python SDK has them.

In: Trio's memory streams, or a socket whose other end is served in another thread. Out: anyio byte streams, which work under Trio and asyncio alike; over
one of them, a `transport` for `mcp.Client` or `mcp.ClientSession`. Whoever opened a stream closes it.
"""
from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.abc
import trio

from shadowproxy.wire.lines import LineParser

LINE_MAX: Final = 1 << 28
CHUNK: Final = 65536


class TrioStream(anyio.abc.ByteStream):
    """Two one-way streams of Trio's."""

    def __init__(self, sending: trio.abc.SendStream, receiving: trio.abc.ReceiveStream) -> None:
        self._sending, self._receiving = sending, receiving

    async def send(self, item: bytes) -> None:
        await self._sending.send_all(item)

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        data = await self._receiving.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def send_eof(self) -> None:
        await self._sending.aclose()

    async def aclose(self) -> None:
        await self._sending.aclose()
        await self._receiving.aclose()


class SocketStream(anyio.abc.ByteStream):
    """A connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock

    async def send(self, item: bytes) -> None:
        rest = memoryview(item)
        await anyio.lowlevel.checkpoint()
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        await anyio.lowlevel.checkpoint()
        while (data := self._there(max_bytes)) is None:
            await anyio.wait_readable(self._socket)
        if not data:
            raise anyio.EndOfStream
        return data

    def _there(self, max_bytes: int) -> bytes | None:
        """What has come; None if nothing has."""
        try:
            return self._socket.recv(max_bytes)
        except BlockingIOError:
            return None

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._socket.close()
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def open_transport(stream: anyio.abc.ByteStream) -> AsyncIterator[tuple[Any, Any]]:
    """The pair of object streams that the SDK's clients take, while the block runs. Needs the package `mcp`."""
    to_client, read = anyio.create_memory_object_stream[Any](0)
    write, from_client = anyio.create_memory_object_stream[Any](0)
    async with anyio.create_task_group() as carrying:
        carrying.start_soon(_hear, stream, to_client)
        carrying.start_soon(_say, from_client, stream)
        try:
            yield read, write
        finally:
            for end in (read, write):
                end.close()
            carrying.cancel_scope.cancel()


async def _hear(stream: anyio.abc.ByteStream, to_client: Any) -> None:
    from mcp import types
    from mcp.shared.message import SessionMessage

    adapter = getattr(types, "jsonrpc_message_adapter", None)  # from 2.0 on
    decode: Any = types.JSONRPCMessage.model_validate_json if adapter is None else adapter.validate_json  # type: ignore[attr-defined]  # before 2.0
    parser = LineParser(LINE_MAX)
    with to_client:
        try:
            async for data in stream:
                for line in parser.feed(data):
                    await to_client.send(SessionMessage(decode(line)))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # the client wants no more


async def _say(from_client: Any, stream: anyio.abc.ByteStream) -> None:
    with from_client:
        async for said in from_client:
            await stream.send(said.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
