"""curl through the proxy: what goes over the wire, in both eras, by HTTP/1.1 and HTTP/2, in clear text and over TLS."""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import attrs
import pytest
import trio
import trustme
from curl import HELLO, META, MODERN, message_in
from programs import PATIENCE, until
from real.clients.stage import ENGINES, Engine, Stage, every_engine, open_stage

from shadowproxy.config import Tls

Json = dict[str, Any]
WRITTEN = "\n%{http_version} %{http_code} %header{content-type} %header{mcp-session-id}"
JSON, EVENTS = "application/json", "text/event-stream"


@attrs.frozen
class Lane:
    """How curl comes in: its option for the version, and what that may come to."""

    engine: Engine
    option: str
    tls: bool
    versions: str

    def __str__(self) -> str:
        return f"{self.engine} {'https' if self.tls else 'http'} {self.option}"


LANES = [Lane(engine, *kind) for engine in ENGINES for kind in (("--http1.1", False, "1.1"), ("--http2", False, "1.1 2"), ("--http1.1", True, "1.1"))]
LANES += [Lane("native", "--http2-prior-knowledge", False, "2"), Lane("native", "--http2", True, "2")]  # the engine is for HTTP/1.1
every_lane = pytest.mark.parametrize("lane", LANES, ids=str)
"""`--http2` in clear text offers an upgrade: Hypercorn accepts it when there is no body, our own server never."""


@attrs.frozen
class Answer:
    version: str
    status: int
    kind: str
    session: str
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Json]:
        return [message for line in self.body.splitlines() if (message := message_in(line)) is not None]


class Curl:
    """A person at a terminal: each request is a process of its own."""

    def __init__(self, stage: Stage, lane: Lane, authority: Path) -> None:
        self.stage, self._lane = stage, lane
        self.url = stage.url.replace("127.0.0.1", "localhost") if lane.tls else stage.url
        self._command = ("curl", "-q", "--silent", "--show-error", "--no-buffer", "--noproxy", "*", "--cacert", str(authority), lane.option)
        self.session: tuple[str, ...] = ()

    async def run(self, *words: str) -> Answer:
        with trio.fail_after(PATIENCE):
            ended = await trio.run_process([*self._command, "--write-out", WRITTEN, *self.session, *words, self.url], capture_stdout=True, stdin=subprocess.DEVNULL)
        body, _, written = ended.stdout.decode().rpartition("\n")
        version, status, kind, session = written.split(" ")
        assert version in self._lane.versions.split()
        return Answer(version, int(status), kind, session, body)

    async def post(self, message: Json, *words: str) -> Answer:
        return await self.run(*posting(message), *words)

    async def call(self, id: int, tool: str, arguments: Json, **meta: Any) -> Answer:
        return await self.run(*self.calling(id, tool, arguments, **meta))

    def calling(self, id: int, tool: str, arguments: Json, **meta: Any) -> tuple[str, ...]:
        """The words of a `tools/call` of the era that this person is in."""
        if not self.session:
            meta = {**META, **meta}
            fields: tuple[str, ...] = ("-H", f"mcp-protocol-version: {MODERN}", "-H", "mcp-method: tools/call", "-H", f"mcp-name: {tool}")
        else:
            fields = ()
        return (*posting({"id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}}), *fields)

    @asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator[Running]:
        """A request that goes on; it is killed at the end if it is not over."""
        command = [*self._command, *self.session, *words, self.url]
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            running = Running(process)
            try:
                with trio.fail_after(2 * PATIENCE):
                    nursery.start_soon(running.read)
                    yield running
            finally:
                running.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            nursery.cancel_scope.cancel()

    async def begin(self) -> Self:
        """The handshake of the legacy era; from now on every request belongs to the session."""
        answer = await self.post({"id": 0, "method": "initialize", "params": {**HELLO, "capabilities": {"elicitation": {}}}})
        assert (answer.status, answer.kind, answer.json["result"]["serverInfo"]["name"]) == (200, JSON, "host")
        self.session = ("-H", f"mcp-session-id: {answer.session}", "-H", "mcp-protocol-version: 2025-11-25")
        told = await self.post({"method": "notifications/initialized"})
        assert (told.status, told.body) == (202, "")
        return self


class Running:
    """A curl under way, and the messages that it has printed."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._read = trio.Event()
        self.messages: list[Json] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        text = ""
        async with self._process.stdout as pipe:
            async for chunk in pipe:
                *lines, text = (text + chunk.decode()).split("\n")
                self.messages += [message for line in lines if (message := message_in(line.rstrip("\r"))) is not None]
        self._read.set()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> int:
        await self._read.wait()
        return await self._process.wait()


def posting(message: Json) -> tuple[str, ...]:
    body = json.dumps({"jsonrpc": "2.0", **message})
    return "-H", "content-type: application/json", "-H", "accept: application/json, text/event-stream", "--data-binary", body


def text_of(message: Json) -> str:
    found: str = message["result"]["content"][0]["text"]
    return found


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    ca = trustme.CA()
    issued = ca.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@asynccontextmanager
async def at_the_terminal(lane: Lane, authority: Path) -> AsyncIterator[Curl]:
    folder = authority.parent
    tls = Tls(cert=str(folder / "cert.pem"), key=str(folder / "key.pem")) if lane.tls else None
    async with open_stage(lane.engine, tls=tls) as stage:
        yield Curl(stage, lane, authority)


@every_lane
async def test_modern(lane: Lane, authority: Path) -> None:
    async with at_the_terminal(lane, authority) as curl:
        echoed = await curl.call(1, "echo", {"text": "grüß Gott"})
        assert (echoed.status, echoed.kind, text_of(echoed.json)) == (200, JSON, "grüß Gott")

        counted = await curl.call(2, "count", {"steps": 3}, progressToken="p")
        assert (counted.status, counted.kind) == (200, EVENTS)
        assert [event["params"]["progress"] for event in counted.events[:-1]] == [1, 2, 3]
        assert (counted.events[-1]["id"], text_of(counted.events[-1])) == (2, "counted to 3")

        async with curl.running(*curl.calling(3, "pace", {"steps": 2}, progressToken="q")) as paced:
            for step in (1, 2):
                await until(lambda: len(paced.messages) == step)  # noqa: B023 -- called before the next step
                assert (await curl.call(4, "nod", {"step": step})).status == 200
            assert await paced.ended() == 0
            assert text_of(paced.messages[-1]) == "paced 2 steps"

        async with curl.running(*curl.calling(5, "hang", {"label": "curl"}, progressToken="r")) as hanging:
            await until(lambda: hanging.messages)
        assert text_of((await curl.call(6, "wait_for_leaving", {"label": "curl"})).json) == "curl was cancelled"

        assert (await curl.run("--request", "DELETE", "-H", f"mcp-protocol-version: {MODERN}")).status == 405
        assert (await curl.call(7, "no-such-tool", {})).json["result"]["isError"]
        await curl.stage.check_empty(children=1)


@every_lane
async def test_legacy(lane: Lane, authority: Path) -> None:
    async with at_the_terminal(lane, authority) as curl:
        await curl.begin()
        listed = await curl.post({"id": 1, "method": "tools/list"})
        assert {"echo", "greet"} <= {tool["name"] for tool in listed.json["result"]["tools"]}

        async with curl.running("-H", f"accept: {EVENTS}") as standing:
            async with curl.running(*curl.calling(2, "greet", {})) as greeting:
                await until(lambda: greeting.messages)
                (question,) = greeting.messages
                assert question["method"] == "elicitation/create"
                answered = await curl.post({"id": question["id"], "result": {"action": "accept", "content": {"name": "Ada"}}})
                assert (answered.status, answered.body) == (202, "")
                assert await greeting.ended() == 0
                assert text_of(greeting.messages[-1]) == "Hello, Ada!"

            async with curl.running(*curl.calling(3, "hang", {"label": "curl"}, progressToken="p")) as hanging:
                await until(lambda: hanging.messages)
                assert (await curl.post({"method": "notifications/cancelled", "params": {"requestId": 3}})).status == 202
                assert text_of((await curl.call(4, "wait_for_leaving", {"label": "curl"})).json) == "curl was cancelled"

            await curl.call(5, "change_later", {})
            await until(lambda: standing.messages)
            assert [message["method"] for message in standing.messages] == ["notifications/tools/list_changed"]

            assert (await curl.run("--request", "DELETE")).status == 200
            assert await standing.ended() == 0, "the session's end is a proper end of its stream"
        assert (await curl.post({"id": 6, "method": "ping"})).status == 404
        await curl.stage.check_empty(children=0)


@every_lane
async def test_a_large_body_that_asks_first(lane: Lane, authority: Path) -> None:
    """Past a megabyte curl sends `Expect: 100-continue` in HTTP/1.1 and waits."""
    text = "é" * 1_000_000
    async with at_the_terminal(lane, authority) as curl:
        message = authority.parent / "message.json"
        words = curl.calling(1, "echo", {"text": text})
        at = words.index("--data-binary") + 1
        await trio.Path(message).write_text(words[at])
        echoed = await curl.run(*words[:at], f"@{message}", *words[at + 1 :], "--expect100-timeout", str(PATIENCE))
        assert (echoed.status, text_of(echoed.json) == text) == (200, True)


@every_engine
async def test_a_socket_file(engine: Engine, tmp_path: Path, authority: Path) -> None:
    path = tmp_path / "socket"
    async with open_stage(engine, listen=(f"unix:{path}",)) as stage:
        curl = Curl(attrs.evolve(stage, url="http://localhost/mcp"), Lane(engine, "--http1.1", False, "1.1"), authority)
        words = curl.calling(1, "echo", {"text": "hello"})
        assert text_of((await curl.run("--unix-socket", os.fspath(path), *words)).json) == "hello"
