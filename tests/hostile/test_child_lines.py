"""Every row of `child_lines` through the real link, upstream, gateway, endpoint and server, with a child made of memory: whole, and byte by byte."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from dialogue import META
from hostile.make_child_lines import MESSAGE_LIMIT
from hostile.memory_client import Answer, Ear, in_words, open_raw, spelled
from hostile.rows import Row, families, strokes, whole
from memory_children import Json, MemoryChild, Nursery, spawning
from trio.testing import MockClock
from wires import Client, open_wire, request_bytes

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.server import open_core
from shadowproxy.service import running
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.watch import Watch

FAMILIES = families("child_lines")
FINE = 2048
SHORT = Timeouts(request=3)
PATIENCE = 5.0
"""Virtual seconds after which every deadline of a request has passed."""


async def program(child: MemoryChild, message: Json) -> None:
    """A server that answers the handshakes; the rest is the row's affair."""
    match message.get("method"):
        case "server/discover":
            await child.say({"id": message["id"], "result": {"supportedVersions": ["2026-07-28"]}})
        case "initialize":
            await child.say({"id": message["id"], "result": {"protocolVersion": "2025-11-25", "capabilities": {}}})
        case "ping" | "resources/list":
            await child.say({"id": message["id"], "result": {}})


def request(era: str, id: str, session: bytes | None, method: str = "prompts/list", **meta: str) -> bytes:
    fields = [(b"content-type", b"application/json"), *([(b"mcp-session-id", session)] if session else [])]
    if era == "modern":
        fields += [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", method.encode())]
    params: Json = {"_meta": {**(META if era == "modern" else {}), **meta}}
    return request_bytes("POST", "/mcp", json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode(), fields)


@attrs.define
class Pipes:
    """A proxy before children of one era."""

    era: str
    connect: Callable[[], Client]
    children: Nursery
    session: bytes | None = None
    ear: Ear | None = None

    @property
    def child(self) -> MemoryChild:
        """The one that serves: the newest that has been spoken to."""
        return next(child for child in reversed(self.children.children) if child.read)

    async def begin(self, ears: trio.Nursery) -> None:
        """A session and its GET stream, for who needs one."""
        if self.era == "legacy":
            hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}
            async with open_raw(self.connect) as raw:
                await raw.send(request_bytes(body=json.dumps(hello).encode(), content_type="application/json"))
                await raw.settle()
                self.session = dict(raw.answers(["POST"])[0].fields)[b"mcp-session-id"]
            self.ear = await ears.start(self._listen)
        else:
            assert (await self.ask("first", "resources/list")).status == 200

    async def _listen(self, *, task_status: trio.TaskStatus[Ear]) -> None:
        async with open_raw(self.connect) as raw:
            await raw.send(request_bytes("GET", fields=[(b"accept", b"text/event-stream"), (b"mcp-session-id", self.session or b"")]))
            await raw.settle()
            task_status.started(Ear(raw))
            await trio.sleep_forever()

    async def ask(self, id: str, method: str) -> Answer:
        async with open_raw(self.connect) as raw:
            await raw.send(request(self.era, id, self.session, method))
            await raw.settle()
            while not (answers := raw.answers(["POST"])):
                await trio.sleep(1)
            return answers[0]

    def heard(self) -> list[list[Any]]:
        """What the GET stream has heard since the last time."""
        return [] if self.ear is None else self.ear.heard()


@asynccontextmanager
async def open_pipes(era: str) -> AsyncIterator[Pipes]:
    config = Config(upstream=Upstream(command=("server",)), limits=Limits(message=MESSAGE_LIMIT), timeouts=SHORT)
    watch = Watch()
    try:
        with spawning(program) as children:
            upstream = StdioUpstream(config)
            async with running(upstream.run), open_core(config, watch, (), upstream) as (gateway, sessions):
                async with open_wire(Endpoint(config, gateway, sessions, Origins((), (), ())), config.limits, config.timeouts) as wire, trio.open_nursery() as ears:
                    pipes = Pipes(era, wire.connect, children)
                    await pipes.begin(ears)
                    yield pipes
                    ears.cancel_scope.cancel()
    finally:
        watch.close()


async def outcome(pipes: Pipes, row: Row, size: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What became of a row, and what it says should have."""
    async with open_raw(pipes.connect) as first, open_raw(pipes.connect) as second:
        await first.send(request(row["era"], "a", pipes.session, progressToken="t"))
        await first.settle()
        await second.send(request(row["era"], "b", pipes.session))
        await second.settle()
        child = pipes.child
        ids = [str(line["id"]) for line in child.read if line.get("method") == "prompts/list"][-2:]
        pipes.heard()
        child.raw.clear()
        text = whole(row["lines"]).replace(b"$ID", ids[0].encode()).replace(b"$OTHER", ids[1].encode())
        for data in strokes([text.decode("latin-1")], size):
            if data:
                await child.write(data)
        if row["exit"]:
            child.exit(3, "its last words")
        await first.settle()
        found: dict[str, Any] = {"heard": pipes.heard()}
        await child.say({"id": int(ids[1]), "result": {}})
        await first.settle()
        answers = first.answers(["POST"])
        others = second.answers(["POST"])
        if not (answers and others):
            await trio.sleep(PATIENCE)
            answers, others = answers or first.answers(["POST"]), others or second.answers(["POST"])
    found |= {"status": answers[0].status, "messages": spelled(answers[0]), "other": spelled(others[0])[0][1]}
    found["sent"] = [in_words(line) for line in child.raw]
    said = json.loads(json.dumps(row).replace("$ID", ids[0]).replace("$OTHER", ids[1]))
    return found, {key: said[key] for key in found}


async def wrong(rows: list[Row], *, slowly: bool) -> dict[str, Any]:
    """The rows whose outcome is not what they say. A child that exits is followed by a fresh proxy."""
    found: dict[str, Any] = {}
    for era in ("legacy", "modern"):
        mine = [row for row in rows if row["era"] == era and not (slowly and row.get("at_once"))]
        for group in [[row for row in mine if not row["exit"]], *([row] for row in mine if row["exit"])]:
            if group:
                found |= await _wrong(era, group, slowly)
    return found


async def _wrong(era: str, rows: list[Row], slowly: bool) -> dict[str, Any]:
    found = {}
    async with open_pipes(era) as pipes:
        for row in rows:
            got, expected = await outcome(pipes, row, None if not slowly else 1 if len(whole(row["lines"])) <= FINE else 9973)
            if row["heard"] is None:
                del got["heard"], expected["heard"]
            again = (await pipes.ask("next", "resources/list")).status
            if got != expected or again != (404 if row["exit"] and era == "legacy" else 200):
                found[row["name"]] = f"{got}, not {expected}, and {again}"
    return found


@pytest.mark.parametrize("family", FAMILIES)
async def test_whole(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=False) == {}


@pytest.mark.parametrize("family", FAMILIES)
async def test_byte_by_byte(autojump_clock: MockClock, family: str) -> None:
    assert await wrong(FAMILIES[family], slowly=True) == {}
