"""The stage: a proxy with a server behind it, and players, who are programs of their own and report what happened to them.

    async with open_stage("native") as stage:
        report = await stage.perform(PYTHON, PLAY, mode="legacy", loop="trio")
        await stage.check_empty()

The proxy runs in the test's own process, so that a test can look at what it still holds.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import pytest
import trio
from programs import PATIENCE, ROOT, until
from real import node_packages
from real.clients.plays import Play

from shadowproxy import Config, Proxy, Upstream, open_proxy

Json = dict[str, Any]
HERE = Path(__file__).parent
HOST = (sys.executable, str(HERE / "host.py"))
PYTHON, TYPESCRIPT_1, TYPESCRIPT_2 = "sdk_python.py", "sdk_v1.mjs", "sdk_v2.mjs"
Engine = Literal["native", "hypercorn"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
every_engine = pytest.mark.parametrize("engine", ENGINES)
BEHIND_STDIO: dict[str, Engine] = {"legacy": "native", "modern": "hypercorn"}
"""The engine of the proxy that `shadowproxy forward` talks to on behalf of a client on stdio, by era: the client itself meets neither."""
HOLDING_NOTHING = {"exchanges": 0, "exchanges_waiting": 0, "exchanges_refused": 0, "connections": 0, "sessions": 0}


@attrs.frozen
class Stage:
    """One proxy, and where its MCP endpoint is."""

    proxy: Proxy
    url: str

    async def perform(self, player: str, play: Play, **how: Any) -> Json:
        """Let a player perform; its report."""
        said = await run([*player_command(player), json.dumps({"url": self.url, "acts": play.acts, **how})])
        report: Json = json.loads(said)
        return report

    async def check_empty(self, **counts: int) -> None:
        """Nobody is left, and nothing of anybody; `counts` are those that must be otherwise."""
        wanted = {**HOLDING_NOTHING, **counts}
        held: dict[str, int] = {}

        def settled() -> bool:
            held.update(self.proxy.statistics())
            return wanted.items() <= held.items()

        try:
            await until(settled)
        except AssertionError:
            raise AssertionError(f"still held: {held}, not {wanted}") from None


@asynccontextmanager
async def open_stage(engine: Engine, command: Sequence[str] = HOST, **settings: Any) -> AsyncIterator[Stage]:
    settings = {"listen": ("127.0.0.1:0",), "upstream": Upstream(command=tuple(command), warm=0), **settings}
    async with open_proxy(Config(http_engine=engine, **settings)) as proxy:
        yield Stage(proxy, proxy.addresses[0])


async def run(command: Sequence[str], *, status: int = 0, words: Literal["stdout", "stderr"] = "stdout", **env: str) -> str:
    """Run a program to its end, which must have this exit status; what it said."""
    with trio.fail_after(2 * PATIENCE):
        ended = await trio.run_process(list(command), capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL,
                                       env={**os.environ, **env})  # fmt: skip
    assert ended.returncode == status, f"{ended.returncode}: {ended.stderr.decode()}\n{ended.stdout.decode()}"
    said: bytes = getattr(ended, words)
    return said.decode()


def player_command(player: str) -> tuple[str, ...]:
    """How to start one of `players/`. Node looks for packages beside the program: so it gets them by a link in the folder that has them."""
    if player.endswith(".py"):
        return sys.executable, str(HERE / "players" / player)
    node_packages.install(node_packages.CLIENTS)
    link = node_packages.CLIENTS.home / "players"
    if not link.exists():
        with suppress(FileExistsError):  # another process was faster
            link.unlink(missing_ok=True)  # left by a folder that has moved
            link.symlink_to(HERE / "players", target_is_directory=True)
    return node_packages.NODE, "--preserve-symlinks", "--preserve-symlinks-main", str(link / player)
