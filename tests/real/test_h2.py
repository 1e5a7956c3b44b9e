"""One contract over what serves HTTP: our HTTP/1.1, Hypercorn's HTTP/1.1, and HTTP/2. They must be indistinguishable but for speed."""
from __future__ import annotations

import inspect
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import attrs
import httpx
import hypercorn
import pytest
import trio
from dialogue import META
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hyperframe.frame import GoAwayFrame

from shadowproxy import Config, Limits, Proxy, Timeouts, Upstream, open_proxy

DEMO = Upstream(command=(sys.executable, "-m", "shadowproxy.cli.demo_server"), warm=0)
PATIENCE = 20.0
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
Engine = Literal["native", "hypercorn"]


@attrs.frozen
class Way:
    """One way to be served."""

    engine: Engine
    http2: bool

    def __str__(self) -> str:
        return "HTTP/2" if self.http2 else f"HTTP/1.1 by {self.engine}"


WAYS = [Way("native", False), Way("hypercorn", False), Way("native", True)]
every = pytest.mark.parametrize("way", WAYS, ids=str)
#: httpx leaves the generators of a response that is left midway to the collector, whatever one closes.
left_midway = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@asynccontextmanager
async def served(way: Way, **settings: Any) -> AsyncIterator[tuple[Proxy, httpx.AsyncClient]]:
    config = Config(listen=("127.0.0.1:0",), upstream=settings.pop("upstream", DEMO), http_engine=way.engine, **settings)
    async with open_proxy(config) as proxy:
        async with httpx.AsyncClient(http1=not way.http2, http2=way.http2, base_url=proxy.addresses[0], headers=HEADERS, trust_env=False, timeout=20) as client:
            yield proxy, client


def modern(method: str, params: dict[str, Any] | None = None, id: int = 1) -> dict[str, Any]:
    named = {"mcp-name": params["name"]} if params and "name" in params else {}
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**(params or {}), "_meta": {**META, "progressToken": id}}}
    return {"content": json.dumps(body), "headers": {"mcp-protocol-version": "2026-07-28", "mcp-method": method, **named}}


@every
async def test_json_and_events(way: Way) -> None:
    async with served(way) as (_, client):
        plain = await client.post("", **modern("tools/call", {"name": "echo", "arguments": {"text": "é" * 1000}}))
        assert plain.http_version == ("HTTP/2" if way.http2 else "HTTP/1.1")
        assert plain.status_code == 200
        assert plain.headers["content-type"] == "application/json"
        assert plain.json()["result"]["content"][0]["text"] == "é" * 1000
        stream = await client.post("", **modern("tools/call", {"name": "count", "arguments": {"steps": 3}}))
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.text.count("notifications/progress") == 3
        assert '"id":1' in stream.text.split("data: ")[-1]


@every
async def test_a_legacy_session(way: Way) -> None:
    async with served(way) as (_, client):
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}
        answer = await client.post("", json=hello)
        session = {"mcp-session-id": answer.headers["mcp-session-id"]}
        assert (await client.post("", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)).status_code == 202
        assert (await client.post("", json={"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers=session)).json()["result"] == {}
        assert (await client.delete("", headers=session)).status_code == 200
        assert (await client.post("", json={"jsonrpc": "2.0", "id": 3, "method": "ping"}, headers=session)).status_code == 404


@every
@pytest.mark.parametrize(("request_", "status"), [
    ({"method": "POST", "url": "/elsewhere", "content": "{}"}, 404),
    ({"method": "PUT", "url": "/mcp", "content": "{}"}, 405),
    ({"method": "POST", "url": "/mcp", "content": "{", "headers": {"content-type": "application/json"}}, 400),
    ({"method": "POST", "url": "/mcp", "content": "{}", "headers": {"content-type": "text/plain"}}, 415),
    ({"method": "POST", "url": "/mcp", "content": "{}", "headers": {"origin": "http://evil.example"}}, 403),
    ({"method": "POST", "url": "/mcp", "content": "x" * 3000, "headers": {"content-type": "application/json"}}, 413),
    ({"method": "GET", "url": "/mcp", "headers": {"mcp-protocol-version": "2026-07-28"}}, 405),
    ({"method": "GET", "url": "/mcp", "headers": {"accept": "text/event-stream", "x-long": "y" * 3000}}, 431),
    ({"method": "OPTIONS", "url": "/mcp", "headers": {"origin": "http://localhost:1", "access-control-request-headers": "mcp-method"}}, 204),
])  # fmt: skip
async def test_refusals(way: Way, request_: dict[str, Any], status: int) -> None:
    async with served(way, limits=Limits(body=2000, head=2000)) as (proxy, client):
        url = proxy.addresses[0].removesuffix("/mcp") + request_["url"]
        async with httpx.AsyncClient(http1=not way.http2, http2=way.http2, trust_env=False) as bare:
            try:
                answer = await bare.request(request_["method"], url, content=request_.get("content"), headers=request_.get("headers"))
                assert answer.status_code == status
            except httpx.RemoteProtocolError:
                assert status == 431, "only a head that is too large may cost the connection without a word"
        after = await client.post("", **modern("tools/list"))
        assert after.status_code == 200, "others are served as before"


@every
@left_midway
async def test_the_deadline_of_a_request(way: Way) -> None:
    sleeper = Upstream(command=(sys.executable, "-c", SLEEPER), warm=0)
    async with served(way, upstream=sleeper, timeouts=Timeouts(request=0.3, child_grace=0.5)) as (_, client):
        answer = await client.post("", **modern("tools/list"))
        assert answer.status_code == 504
        assert answer.json()["error"]["data"]["name"] == "upstream_timeout"


@every
@left_midway
async def test_a_client_that_leaves_is_noticed(way: Way) -> None:
    sleeper = Upstream(command=(sys.executable, "-c", SLEEPER), warm=0)
    async with served(way, upstream=sleeper, timeouts=Timeouts(child_grace=0.5)) as (proxy, client):
        with trio.move_on_after(0.5):
            await client.post("", **modern("tools/list"))
        await client.aclose()  # httpx resets no stream, it can only close the connection
        with trio.fail_after(20):
            while proxy.statistics()["exchanges"]:
                await trio.sleep(0.01)


@pytest.mark.parametrize("engine", ["native", "hypercorn"])
@pytest.mark.parametrize(("offer", "next"), [("", ""), ("connection: upgrade\r\nupgrade: h2c\r\n", ""), ("", "OPTIONS /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n")],
                         ids=["plain", "with an upgrade offered", "with its next request sent already"])  # fmt: skip
async def test_a_client_of_http1_that_leaves_is_noticed(engine: Engine, offer: str, next: str) -> None:
    talker = Upstream(command=(sys.executable, "-c", SLEEPER), warm=0)
    async with served(Way(engine, False), upstream=talker) as (proxy, _):
        request = modern("tools/call", {"name": "x"})
        fields = "".join(f"{name}: {value}\r\n" for name, value in {**HEADERS, **request["headers"], "content-length": len(request["content"])}.items())
        with trio.fail_after(20):
            stream = await trio.open_tcp_stream("127.0.0.1", httpx.URL(proxy.addresses[0]).port or 0)
            await stream.send_all(f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{offer}{fields}\r\n{request['content']}{next}".encode())
            while proxy.statistics()["exchanges"] == 0:
                await trio.sleep(0.01)
            await stream.aclose()
            while proxy.statistics()["exchanges"] or proxy.statistics()["connections"]:
                await trio.sleep(0.01)


@every
@left_midway
async def test_a_client_that_does_not_read_holds_nobody_else_up(way: Way) -> None:
    async with served(way, timeouts=Timeouts(write=0.5, drain=0.5)) as (proxy, client):
        async with client.stream("POST", "", **modern("tools/call", {"name": "echo", "arguments": {"text": "x" * 5_000_000}})):
            other = await client.post("", **modern("tools/list", id=2)) if way.http2 else None
            assert other is None or other.status_code == 200
            with trio.fail_after(20):
                await proxy.drain()


@every
@pytest.mark.parametrize("kind", ["GET", "subscription", "2024-11-05"])
async def test_a_standing_stream_ends_with_the_drain_at_once_and_what_is_under_way_goes_on(way: Way, kind: str, tmp_path: Path) -> None:
    """In HTTP/2 they share a connection. Nothing but the drain ends the stream in time, and the call only after it."""
    talker = Upstream(command=(sys.executable, "-c", TALKER, str(tmp_path / "go")), warm=0)
    async with served(way, upstream=talker, timeouts=Timeouts(keep_alive=0.1, drain=3 * PATIENCE, child_grace=0.5)) as (proxy, client), trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            async with standing(client, kind) as stream, client.stream("POST", "", **modern("tools/call", {"name": "x"}, id=2)) as call:
                assert (stream.status_code, call.status_code) == (200, 200)
                parts, said = stream.aiter_text(), ""
                while ": keep-alive" not in said:
                    said += await anext(parts)
                nursery.start_soon(proxy.drain)
                said += "".join([part async for part in parts])
                (tmp_path / "go").touch()
                heard = "".join([part async for part in call.aiter_text()])
            await proxy.drain()
    assert [event["id"] for event in events(heard) if "result" in event] == [2]
    if kind == "subscription":
        end = events(said)[-1]
        assert (end["id"], end["result"]["_meta"]) == (1, {"io.modelcontextprotocol/subscriptionId": 1})


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]


@asynccontextmanager
async def standing(client: httpx.AsyncClient, kind: str) -> AsyncIterator[httpx.Response]:
    """One of the three streams that have no end of their own."""
    if kind == "subscription":
        async with client.stream("POST", "", **modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})) as stream:
            yield stream
        return
    url, fields = str(client.base_url.copy_with(path="/sse")), {}
    if kind == "GET":
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}
        url, fields = "", {"mcp-session-id": (await client.post("", json=hello)).headers["mcp-session-id"]}
    async with client.stream("GET", url, headers=fields) as stream:
        yield stream


@every
async def test_the_clients_of_what_is_not_finished_are_told(way: Way) -> None:
    sleeper = Upstream(command=(sys.executable, "-c", SLEEPER), warm=0)
    async with served(way, upstream=sleeper, timeouts=Timeouts(drain=0.5, child_grace=0.5)) as (proxy, client), trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def ask(id: int) -> None:
            answers.append(await client.post("", **modern("tools/list", id=id)))

        for id in (1, 2):
            nursery.start_soon(ask, id)
        with trio.fail_after(PATIENCE):
            while proxy.statistics()["exchanges"] < 2:
                await trio.sleep(0.01)
            await proxy.drain()
    assert [(answer.status_code, answer.headers["retry-after"], answer.json()["error"]["data"]["name"]) for answer in answers] == [(503, "1", "overloaded")] * 2
    assert {answer.json()["id"] for answer in answers} == {1, 2}


@every
async def test_the_deadline_of_a_stream(way: Way, tmp_path: Path) -> None:
    talker = Upstream(command=(sys.executable, "-c", TALKER, str(tmp_path / "never")), warm=0)
    async with served(way, upstream=talker, timeouts=Timeouts(request=0.5, request_max=1, child_grace=0.5)) as (_, client):
        for id in (1, 2):  # the connection serves on
            answer = await client.post("", **modern("tools/call", {"name": "x"}, id=id))
            last = events(answer.text)[-1]
            assert (answer.status_code, last["id"], last["error"]["data"]["name"]) == (200, id, "upstream_timeout")


@left_midway
async def test_a_bug_stays_with_its_connection(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object) -> None:
        raise ZeroDivisionError

    async with served(WAYS[2]) as (_, client):
        with monkeypatch.context() as patch:
            patch.setattr(ProtocolWrapper, "handle", broken)
            with pytest.raises(httpx.HTTPError):
                await client.post("", **modern("tools/list"))
        assert "could not be served" in caplog.text
        assert (await client.post("", **modern("tools/list"))).status_code == 200


def test_hypercorn_is_what_the_guard_was_written_for() -> None:
    """We use its parts, not its server: this says which, so that another version is noticed here and not in production."""
    assert hypercorn.__version__.startswith("0.18.") if hasattr(hypercorn, "__version__") else True
    wrapper = list(inspect.signature(ProtocolWrapper.__init__).parameters)
    assert wrapper == ["self", "app", "config", "context", "task_group", "state", "ssl", "client", "server", "send", "alpn_protocol"]
    assert list(inspect.signature(TrioSingleTask.restart).parameters) == ["self", "task_group", "action"]
    assert list(inspect.signature(WorkerContext.__init__).parameters) == ["self", "max_requests"]
    assert {"spawn", "spawn_app", "__aenter__", "__aexit__"} <= set(dir(TaskGroup))
    assert list(inspect.signature(H2Protocol._handle_events).parameters) == ["self", "events"]
    h2 = H2Connection(H2Configuration(client_side=False))
    assert (h2.highest_inbound_stream_id, callable(h2._frame_dispatch_table[GoAwayFrame])) == (0, True)


SLEEPER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") in ("server/discover", "initialize"):
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"supportedVersions": ["2026-07-28"]}}), flush=True)
"""

#: It answers a call when the file is there that it was told of; a subscription it acknowledges.
TALKER = """
import json, os, sys, threading, time
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def call(id, token):
    say(method="notifications/progress", params={"progressToken": token, "progress": 1})
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    say(id=id, result={"content": [], "resultType": "complete"})
for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "server/discover" | "initialize":
            say(id=message["id"], result={"supportedVersions": ["2026-07-28"], "protocolVersion": "2025-11-25", "capabilities": {}})
        case "tools/list":
            say(id=message["id"], result={"tools": [{"name": "x", "inputSchema": {"type": "object"}}], "resultType": "complete", "ttlMs": 0, "cacheScope": "public"})
        case "subscriptions/listen":
            meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
            say(method="notifications/subscriptions/acknowledged", params={"_meta": meta, "notifications": {"toolsListChanged": True}})
        case "tools/call":
            threading.Thread(target=call, args=[message["id"], message["params"]["_meta"]["progressToken"]], daemon=True).start()
"""
