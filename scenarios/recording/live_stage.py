"""A live server behind the proxy, and a scripted client in front of it: what a tape is recorded from.

In: a scene, where its tape goes. Out: a client that is connected and has not greeted. The proxy is the program that users run, `--record` and all;
leaving the block ends it as they do, so that the tape is whole.
"""
from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import trio
from http_way import SocketClient, open_http_way
from pipe_way import open_pipe_way
from programs import SHADOWPROXY, Program, until
from scenes import Scene
from scripted_client import ScriptedClient
from servers import command, environment, open_http_server


class Proxy:
    """The proxy's process. `crash` kills the server behind it."""

    def __init__(self, scene: Scene, tape: Path, target: list[str]) -> None:
        way = ["reverse", "--listen", "127.0.0.1:0"] if scene.client == "http" else ["forward"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} if scene.client == "stdio" else {}
        self.program = Program([*SHADOWPROXY, *way, "--record", str(tape), *target], env=environment(), **pipes)

    async def crash(self) -> None:
        servers = [pid for pid in self.program.family() if b"server-" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1]]
        os.kill(min(servers, key=_started), signal.SIGKILL)  # the other one is kept ready for the next client
        await trio.lowlevel.checkpoint()

    async def end(self) -> None:
        if self.program.process.stdin is None:
            self.program.signal(signal.SIGTERM)
        await until(lambda: self.program.ended)


def _started(pid: int) -> int:
    """When, as /proc says it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@asynccontextmanager
async def open_live_stage(scene: Scene, tape: Path) -> AsyncIterator[tuple[ScriptedClient, Proxy]]:
    """While the block runs, what `scene` needs is there and recorded to `tape`."""
    with ExitStack() as stack:
        target = [stack.enter_context(open_http_server())] if scene.behind == "http" else ["--", *command(scene.server)]
        proxy = Proxy(scene, tape, target)
        stack.callback(proxy.program.close)
        stack.enter_context(_told(proxy))
        client = scene.new_client()
        if scene.client == "http":
            address = urlsplit(proxy.program.url)

            async def connect() -> SocketClient:
                return SocketClient(await trio.open_tcp_stream(address.hostname or "", address.port or 0))

            async with open_http_way(client, connect):
                yield client, proxy
        else:
            stdin, stdout = proxy.program.process.stdin, proxy.program.process.stdout
            assert stdin is not None
            assert stdout is not None
            sending, hearing = trio.lowlevel.FdStream(os.dup(stdin.fileno())), trio.lowlevel.FdStream(os.dup(stdout.fileno()))
            stdin.close()
            async with hearing, open_pipe_way(client, sending, hearing):
                yield client, proxy
        await proxy.end()


@contextmanager
def _told(proxy: Proxy) -> Iterator[None]:
    """What the proxy has said, beside what went wrong."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"the proxy said: {proxy.program.words}")
        raise
