"""The MCP Inspector's command line through the proxy: over HTTP by both engines, by the transport of 2024-11-05, and on stdio."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from programs import SHADOWPROXY
from real import node_packages
from real.clients.plays import ECHO, HOST_PLAY
from real.clients.stage import BEHIND_STDIO, HOST, Engine, Stage, every_engine, open_stage, run

from shadowproxy import Timeouts

Inspect = Callable[..., Awaitable[Any]]
both_eras = pytest.mark.parametrize("era", ["legacy", "modern"])
SOON = Timeouts(session_idle=2)


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    """Call it with the server and the Inspector's options; it gives what was printed, decoded."""
    return partial(_inspect, tmp_path)


async def _inspect(home: Path, *words: str, era: str, status: int = 0) -> Any:
    inspector = node_packages.command("@modelcontextprotocol/inspector", node_packages.CLIENTS)
    options = ("--cli", "--format", "json", "--protocol-era", era)
    said = await run([*inspector, *options, *words], status=status, words="stderr" if status else "stdout", HOME=str(home))
    return json.loads(said)


async def tour(inspect: Inspect, *server: str, era: str) -> None:
    """Everything that it can do with the host."""
    tools = (await inspect("--method", "tools/list", *server, era=era))["result"]["tools"]
    assert HOST_PLAY.tools <= {tool["name"] for tool in tools}

    arguments = json.dumps({"text": ECHO})
    echoed = (await inspect("--method", "tools/call", "--tool-name", "echo", "--tool-args-json", arguments, *server, era=era))["result"]
    assert echoed["content"] == [{"type": "text", "text": ECHO}]
    assert ("io.modelcontextprotocol/serverInfo" in echoed.get("_meta", {})) == (era != "legacy"), "the era is that which was asked for"

    counted = (await inspect("--method", "tools/call", "--tool-name", "count", "--tool-args-json", '{"steps": 3}', *server, era=era))["result"]
    assert counted["content"][0]["text"] == "counted to 3"

    refused = await inspect("--method", "tools/call", "--tool-name", "greet", *server, era=era, status=1)
    assert "Client did not declare" in refused["error"]["message"], "it has nobody to answer a question"


async def check_left(stage: Stage, era: str) -> None:
    """It ends no session that it has over HTTP: those wait for their idle deadline."""
    await stage.check_empty(children=0 if era == "legacy" else 1)


@every_engine
@pytest.mark.parametrize("era", ["legacy", "auto", "modern"])
async def test_over_http(inspect: Inspect, engine: Engine, era: str) -> None:
    async with open_stage(engine, timeouts=SOON) as stage:
        await tour(inspect, stage.url, era=era)
        await check_left(stage, era)


@every_engine
async def test_the_transport_of_2024(inspect: Inspect, engine: Engine) -> None:
    async with open_stage(engine) as stage:
        await tour(inspect, stage.url.replace("/mcp", "/sse"), era="legacy")
        await stage.check_empty(children=0)


@both_eras
async def test_on_stdio(inspect: Inspect, era: str) -> None:
    """`shadowproxy forward` is the program that it starts, and speaks HTTP to a second proxy."""
    async with open_stage(BEHIND_STDIO[era]) as stage:
        await tour(inspect, *SHADOWPROXY, "forward", stage.url, era=era)
        await check_left(stage, era)


@both_eras
async def test_on_stdio_alone(inspect: Inspect, era: str) -> None:
    """The Inspector takes the first `--` for itself."""
    await tour(inspect, "--", *SHADOWPROXY, "forward", "--", *HOST, era=era)


@pytest.mark.parametrize(("engine", "era"), [("native", "legacy"), ("hypercorn", "modern")])
async def test_many_calls_at_once(inspect: Inspect, engine: Engine, era: str) -> None:
    call = ("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello")
    async with open_stage(engine, timeouts=SOON) as stage:
        load = (await inspect(stage.url, *call, "--load", "--load-requests", "100", era=era))["result"]
        assert (load["ok"], load["errors"], load["toolErrors"]) == (100, 0, 0)
        await check_left(stage, era)
