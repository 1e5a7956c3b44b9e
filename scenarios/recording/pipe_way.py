"""The way by lines: one pipe there, one pipe back.

In: two streams. Out: a `Way`. `open_pipe_way` owns the reader's task; leaving its block closes the pipe that we write, which is the farewell.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from scripted_client import Asked, Json, ScriptedClient

from shadowproxy.wire.lines import LineParser


class PipeWay:
    def __init__(self, client: ScriptedClient, stdin: trio.abc.SendStream, stdout: trio.abc.ReceiveStream) -> None:
        self._client, self._stdin, self._stdout = client, stdin, stdout
        self._writing = trio.Lock()
        self._left = False

    async def ask(self, asked: Asked) -> None:
        await self.tell(asked.message)

    async def tell(self, message: Json) -> None:
        async with self._writing:
            await self._stdin.send_all(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    async def listen(self, last_event_id: str | None) -> None:
        """It is all one pipe."""
        await trio.lowlevel.checkpoint()

    async def leave(self) -> None:
        self._left = True
        await self._stdin.aclose()

    async def read(self) -> None:
        parser = LineParser(1 << 24)
        while data := await self._stdout.receive_some(65536):
            for line in parser.feed(bytes(data)):
                await self._client.arrived(json.loads(line))
        assert self._left, "the other side has gone"


@asynccontextmanager
async def open_pipe_way(client: ScriptedClient, stdin: trio.abc.SendStream, stdout: trio.abc.ReceiveStream) -> AsyncIterator[None]:
    """`client` speaks this way while the block runs; afterwards the pipe is read to its end."""
    async with trio.open_nursery() as nursery:
        way = client.way = PipeWay(client, stdin, stdout)
        nursery.start_soon(way.read)
        yield
        await way.leave()
