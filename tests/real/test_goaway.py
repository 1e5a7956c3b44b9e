"""The end of an HTTP/2 connection as real clients see it: Node (nghttp2) keeps to the letter of the RFC, httpx (Python's h2) to less of it."""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from dialogue import META, Json
from programs import PATIENCE, until
from real.node_packages import NODE

from shadowproxy import Config, Proxy, Timeouts, Upstream, open_proxy

#: It answers a call when the file is there that it was told of.
SERVER = """
import json, os, sys, threading, time
lock = threading.Lock()
def say(**message):
    with lock:
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def call(id):
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    say(id=id, result={"content": [], "resultType": "complete"})
for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "server/discover":
            say(id=message["id"], result={"supportedVersions": ["2026-07-28"], "capabilities": {}})
        case "tools/list":
            say(id=message["id"], result={"tools": [{"name": "x", "inputSchema": {"type": "object"}}], "resultType": "complete", "ttlMs": 0, "cacheScope": "public"})
        case "tools/call":
            threading.Thread(target=call, args=[message["id"]], daemon=True).start()
"""
#: Asks once, once more when it is told to on its standard input, and says what became of both.
CLIENT = """
const [url, headers, body] = process.argv.slice(1);
const session = require("node:http2").connect(url);
const say = (...words) => console.log(JSON.stringify(words));
session.on("goaway", (code, last) => say("goaway", code, last));
session.on("close", () => { say("close"); process.stdin.destroy(); });
session.on("error", (error) => say("error", String(error.code)));
const ask = (name) => {
  const stream = session.request({":method": "POST", ":path": "/mcp", ...JSON.parse(headers)});
  let text = "";
  stream.on("response", (fields) => { text = fields[":status"] + " "; });
  stream.on("data", (part) => { text += part; });
  stream.on("error", (error) => say(name, "refused", String(error.message)));
  stream.on("end", () => { if (text) say(name, text); });
  stream.end(body);
};
ask("first");
process.stdin.once("data", (word) => String(word) === "close" ? session.close() : ask("second"));
"""
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "_meta": META}})
FIELDS = {"content-type": "application/json", "accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call",
          "mcp-name": "x"}  # fmt: skip


@asynccontextmanager
async def proxied(go: Path) -> AsyncIterator[Proxy]:
    upstream = Upstream(command=(sys.executable, "-c", SERVER, str(go)), warm=0)
    config = Config(listen=("127.0.0.1:0",), upstream=upstream, timeouts=Timeouts(drain=3 * PATIENCE, child_grace=0.5))
    with trio.fail_after(2 * PATIENCE):
        async with open_proxy(config) as proxy:
            yield proxy


class Node:
    """The client, and what it has said."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said: list[list[Any]] = []

    async def say(self, word: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(word.encode())

    async def read(self) -> None:
        rest = b""
        assert self.process.stdout is not None
        async for part in self.process.stdout:
            *lines, rest = (rest + part).split(b"\n")
            self.said += [json.loads(line) for line in lines]


@asynccontextmanager
async def node(proxy: Proxy) -> AsyncIterator[Node]:
    command = [NODE, "-e", CLIENT, proxy.addresses[0].removesuffix("/mcp"), json.dumps(FIELDS), CALL]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(lambda task_status: trio.run_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False, task_status=task_status))
        async with process.stdin, process.stdout:
            client = Node(process)
            nursery.start_soon(client.read)
            yield client
            await process.wait()


@pytest.mark.parametrize("asks_again", [False, True])
async def test_a_client_that_keeps_to_the_RFC(asks_again: bool, tmp_path: Path) -> None:  # noqa: N802
    async with proxied(tmp_path / "go") as proxy, node(proxy) as client, trio.open_nursery() as nursery:
        await until(lambda: proxy.statistics()["exchanges"] == 1)
        nursery.start_soon(proxy.drain)
        await until(lambda: proxy.http is not None and proxy.http._draining)
        if asks_again:
            await client.say("again")
            await until(lambda: ["goaway", 0, 1] in client.said)
            await until(lambda: any(words[:2] == ["second", "refused"] for words in client.said))
            assert "NGHTTP2_REFUSED_STREAM" in str(client.said)
        (tmp_path / "go").touch()
        await until(lambda: client.process.poll() is not None)
    assert ["close"] in client.said
    assert [words[1].split(" ")[0] for words in client.said if words[0] == "first"] == ["200"]
    assert ["goaway", 0, 1] in client.said


async def test_a_client_that_closes_gets_what_it_still_waits_for(tmp_path: Path) -> None:
    async with proxied(tmp_path / "go") as proxy, node(proxy) as client:
        await until(lambda: proxy.statistics()["exchanges"] == 1)
        await client.say("close")
        await until(lambda: proxy.http is not None and all(engine._goaway.begun for engine in proxy.http._live))  # type: ignore[attr-defined]  # of HTTP/2
        (tmp_path / "go").touch()
        await until(lambda: client.process.poll() is not None)
        await until(lambda: proxy.statistics()["connections"] == 0)
    assert [words[1].split(" ")[0] for words in client.said if words[0] == "first"] == ["200"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx leaves generators to the collector
async def test_no_answer_is_lost_to_the_end_that_follows_it(tmp_path: Path) -> None:
    for number in range(10):
        go = tmp_path / str(number)
        async with proxied(go) as proxy, httpx.AsyncClient(http1=False, http2=True, trust_env=False, timeout=PATIENCE) as client, trio.open_nursery() as nursery:
            answers: list[Json] = []

            async def ask(client: httpx.AsyncClient = client, proxy: Proxy = proxy, answers: list[Json] = answers) -> None:
                answers.append((await client.post(proxy.addresses[0], content=CALL, headers=FIELDS)).json())

            for _ in range(5):
                nursery.start_soon(ask)
            await until(lambda proxy=proxy: proxy.statistics()["exchanges"] == 5)  # type: ignore[misc]  # bound at once
            nursery.start_soon(proxy.drain)
            go.touch()
            await until(lambda answers=answers: len(answers) == 5)  # type: ignore[misc]  # the same
            assert all("result" in one for one in answers)
