"""The official SDKs through the proxy, by both HTTP engines: Python's on Trio and on asyncio, TypeScript's of both generations."""
from __future__ import annotations

import json
from typing import Any

import pytest
from programs import SHADOWPROXY
from real import node_packages
from real.clients.plays import EVERYTHING_PLAY, HOST_PLAY, LEGACY, MODERN, Play
from real.clients.stage import BEHIND_STDIO, PYTHON, TYPESCRIPT_1, TYPESCRIPT_2, Engine, Stage, every_engine, open_stage, player_command, run

CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "python on trio": (PYTHON, {"loop": "trio"}),
    "python on asyncio": (PYTHON, {"loop": "asyncio"}),
    "typescript v1": (TYPESCRIPT_1, {}),
    "typescript v2": (TYPESCRIPT_2, {}),
}
KNOWS_BOTH = [name for name in CLIENTS if name != "typescript v1"]
MODES = [(client, "legacy") for client in CLIENTS] + [(client, mode) for client in KNOWS_BOTH for mode in ("auto", MODERN)]


async def perform(stage: Stage, play: Play, client: str, mode: str, **where: Any) -> None:
    """The play, and nothing left of it."""
    player, how = CLIENTS[client]
    report = await stage.perform(player, play, mode=mode, **how, **where)
    version = MODERN if mode != "legacy" and play is HOST_PLAY else LEGACY
    play.check(report, version, introduced=not (player == PYTHON and mode == MODERN))  # Python's asks nobody before it adopts a revision
    await stage.check_empty(children=1 if version == MODERN else 0)  # the one that all modern clients share stays


@every_engine
@pytest.mark.parametrize(("client", "mode"), MODES)
async def test_over_http(engine: Engine, client: str, mode: str) -> None:
    async with open_stage(engine) as stage:
        await perform(stage, HOST_PLAY, client, mode)


@every_engine
@pytest.mark.parametrize(("client", "mode"), [("python on trio", "auto"), ("python on asyncio", "legacy"), ("typescript v1", "legacy"), ("typescript v2", "auto")])
async def test_the_reference_server(engine: Engine, client: str, mode: str) -> None:
    """It knows the era of `initialize` only, which a client that asks first finds out."""
    everything = node_packages.command("@modelcontextprotocol/server-everything")
    async with open_stage(engine, [*everything, "stdio"]) as stage:
        await perform(stage, EVERYTHING_PLAY, client, mode)


@pytest.mark.parametrize(("client", "mode"), [(client, mode) for client, mode in MODES if mode != "auto" and client != "python on asyncio"])
async def test_on_stdio(client: str, mode: str) -> None:
    """`shadowproxy forward` is the program that the client starts, and speaks HTTP to a second proxy."""
    async with open_stage(BEHIND_STDIO["legacy" if mode == "legacy" else "modern"]) as stage:
        await perform(stage, HOST_PLAY, client, mode, command=[*SHADOWPROXY, "forward", stage.url])


@every_engine
async def test_the_transport_of_2024(engine: Engine) -> None:
    async with open_stage(engine) as stage:
        await perform(stage, HOST_PLAY, "typescript v1", "legacy", url=stage.url.replace("/mcp", "/sse"))


@every_engine
async def test_a_client_that_insists_on_what_the_server_has_not_is_told(engine: Engine) -> None:
    everything = node_packages.command("@modelcontextprotocol/server-everything")
    async with open_stage(engine, [*everything, "stdio"]) as stage:
        command = [*player_command(TYPESCRIPT_2), json.dumps({"url": stage.url, "mode": MODERN, "acts": []})]
        said = await run(command, status=1, words="stderr")
        assert "UnsupportedProtocolVersionError" in said
        assert LEGACY in said
        await stage.check_empty()
