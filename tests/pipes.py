"""A client on a pair of pipes: its lines -> `StdioServer` -> gateway -> a fake upstream, in memory and in virtual time.

In: a fake upstream. Out: a `Pipe` to say lines into and to hear lines from. `open_pipe` owns the server's task.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from dialogue import Json
from fakes import FakeUpstream
from wires import FOR_EVER

from shadowproxy.config import Config, Upstream
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.exchange import Exchange, Interceptor
from shadowproxy.gateway import Gateway
from shadowproxy.server import open_core
from shadowproxy.watch import Watch
from shadowproxy.wire.jsonrpc import Message


class Pipe:
    def __init__(self, config: Config, gateway: Gateway, upstream: FakeUpstream) -> None:
        self._stdin, stdin = trio.testing.memory_stream_one_way_pair()
        self._server_stdout, self._stdout = trio.testing.memory_stream_one_way_pair()
        self.server = StdioServer(config, gateway, stdin, self._server_stdout)
        self.gateway, self.upstream = gateway, upstream
        self._rest = b""

    # ------------------------------------------------ to the proxy
    async def say(self, *said: Exchange | Message | Json | bytes) -> None:
        """Each a line, all in one write; bytes as they are."""
        await self._stdin.send_all(b"".join(one if isinstance(one, bytes) else _line(one) for one in said))

    def end(self) -> None:
        """The end of its input."""
        self._stdin.close()

    # ------------------------------------------------ from the proxy
    async def hear(self) -> Json:
        """The next line."""
        line = await self.line()
        assert line, "nothing more comes"
        found: Json = json.loads(line)
        return found

    async def line(self) -> bytes:
        while b"\n" not in self._rest:
            data = bytes(await self._stdout.receive_some())
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    async def hear_all(self) -> list[Json]:
        """Everything up to the end of the server's run. What is written afterwards is a bug that nobody would hear."""
        await self.server.finished()
        self._server_stdout.close()
        heard = []
        while line := await self.line():
            heard.append(json.loads(line))
        return heard

    async def quiet(self, seconds: float = 0.01) -> bool:
        """Whether nothing comes for so long."""
        with trio.move_on_after(seconds):
            await self.line()
            return False
        return True

    def stop_reading(self) -> None:
        """From now on the proxy's writes wait."""
        self._server_stdout.send_all_hook = trio.sleep_forever

    def close_output(self) -> None:
        """The client has closed its end of our standard output."""
        self._stdout.close()


def _line(one: Exchange | Message | Json) -> bytes:
    if isinstance(one, Exchange):
        one = one.request
    return (one.encode() if isinstance(one, Message) else json.dumps(one).encode()) + b"\n"


@asynccontextmanager
async def open_pipe(upstream: FakeUpstream, interceptors: Sequence[Interceptor] = (), **settings: Any) -> AsyncIterator[Pipe]:
    """`settings` are those of `Config`."""
    config = Config(upstream=Upstream(command=("none",)), stdio=True, **settings)
    watch = Watch()
    try:
        async with open_core(config, watch, interceptors, upstream) as (gateway, _), trio.open_nursery() as serving:
            pipe = Pipe(config, gateway, upstream)
            serving.start_soon(pipe.server.run)
            with trio.fail_after(FOR_EVER):
                yield pipe
            serving.cancel_scope.cancel(reason="the pipe is left")
    finally:
        watch.close()
