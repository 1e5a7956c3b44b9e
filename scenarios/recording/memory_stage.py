"""A tape behind the whole proxy, in memory and in virtual time, and a scripted client in front of it.

In: a scene, its tape, how the client speaks, how fast the tape answers; where to record what happens, if anywhere. Out: a client that is connected and has
not greeted. Downstream, gateway, sessions, recorder and replay are the real ones; only sockets and pipes are memory.
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing
import wires
from http_way import open_http_way
from pipe_way import open_pipe_way
from scenes import Scene, Wire
from scripted_client import ScriptedClient

from shadowproxy.config import Config, Record, Replay, Upstream
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.gateway import Gateway
from shadowproxy.server import open_core, open_recording, open_upstream
from shadowproxy.sessions.table import Sessions
from shadowproxy.tape.replaying.replay import TapeUpstream
from shadowproxy.watch import Watch


@asynccontextmanager
async def open_memory_stage(scene: Scene, tape: Path, wire: Wire, *, timing: str = "recorded", record: Path | None = None,
                            order: str = "any") -> AsyncIterator[tuple[ScriptedClient, TapeUpstream]]:  # fmt: skip
    """While the block runs. `wire`: how the client speaks."""
    settings = Replay(timing=timing, order=order)  # type: ignore[arg-type]  # looked at when it is made
    config = Config(upstream=Upstream(tape=str(tape)), replay=settings, record=None if record is None else Record(path=str(record), durability="complete"))
    watch, client = Watch(), scene.new_client()
    try:
        async with (open_recording(config, ()) as (interceptors, _), open_upstream(config, watch) as upstream,
                    open_core(config, watch, interceptors, upstream) as (gateway, sessions)):  # fmt: skip
            assert isinstance(upstream, TapeUpstream)
            async with _http(config, gateway, sessions, client) if wire == "http" else _stdio(config, gateway, client):
                yield client, upstream
    finally:
        watch.close()


@asynccontextmanager
async def _http(config: Config, gateway: Gateway, sessions: Sessions, client: ScriptedClient) -> AsyncIterator[None]:
    endpoint = Endpoint(config, gateway, sessions, Origins((), (), ()))
    async with wires.open_wire(endpoint, config.limits, config.timeouts) as wire:

        async def connect() -> wires.Client:
            await trio.lowlevel.checkpoint()
            return wire.connect()

        async with open_http_way(client, connect):
            yield


@asynccontextmanager
async def _stdio(config: Config, gateway: Gateway, client: ScriptedClient) -> AsyncIterator[None]:
    saying, stdin = trio.testing.memory_stream_one_way_pair()
    stdout, hearing = trio.testing.memory_stream_one_way_pair()
    server = StdioServer(config, gateway, stdin, stdout)

    async def serve() -> None:
        await server.run()
        stdout.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_pipe_way(client, saying, hearing):
            yield


async def no_crash() -> None:
    """What is on a tape dies by itself."""
    await trio.lowlevel.checkpoint()
