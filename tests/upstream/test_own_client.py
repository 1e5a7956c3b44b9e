"""What an HTTP client owes its server when the exchange came over stdio: fields, `Mcp-Param-*`, tools that are no tools."""
from __future__ import annotations

import logging
from typing import Any, cast

import pytest
import trio
import trio.testing
from dialogue import LEGACY, MODERN, NO_ID, Json, legacy, modern
from http_upstreams import ask, upstream_for
from peers import Asked, Wire

from shadowproxy.exchange import Replies, Session
from shadowproxy.wire.jsonrpc import Message

SCHEMA: Json = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer", "x-mcp-header": "N"}}}
TOOL: Json = {"name": "query", "inputSchema": SCHEMA}
PLAIN: Json = {"name": "plain", "inputSchema": {"type": "object"}}
INVALID: Json = {"name": "twice", "inputSchema": {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}}}


GOOD: Json = {"result": {"content": []}}


class Strict:
    """A server that demands the header that its tool's schema, `header`, asks for; it lists its tools on as many pages as it has."""

    def __init__(self, *pages: list[Json], header: str = "mcp-param-region", events: bool = False) -> None:
        self.pages, self.header, self.events = pages, header, events

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        message = asked.message
        status, answer = 200, GOOD
        if message["method"] == "tools/list":
            page = int(message["params"].get("cursor", "0"))
            more: Json = {"nextCursor": str(page + 1)} if page + 1 < len(self.pages) else {}
            answer = {"result": {"tools": self.pages[page], **more, "ttlMs": 5}}
        elif message["params"]["name"] == "query" and asked[self.header] != message["params"]["arguments"]["region"]:
            status, answer = 400, {"error": {"code": -32020, "message": "Header mismatch"}}
        if not self.events or status != 200:
            return await wire.json({"id": message["id"], **answer}, status)
        await wire.begin_events()
        await wire.event({"method": "notifications/message", "params": {}})
        await wire.event({"id": message["id"], **answer})
        await wire.end_events()


def query(id: int = 1) -> Any:
    return modern("tools/call", {"name": "query", "arguments": {"region": "eu", "n": 7}}, id, http=False)


def listing(id: int = 1) -> Any:
    return modern("tools/list", {}, id, http=False)


# --- fields

@pytest.mark.parametrize(("method", "params", "name"), [
    ("tools/call", {"name": "add"}, "add"), ("prompts/get", {"name": "caf\u00e9"}, "=?base64?Y2Fmw6k=?="), ("resources/read", {"uri": "file:///a b"}, "file:///a b"),
    ("tools/list", {}, None), ("server/discover", {}, None),
])
async def test_a_modern_message_gets_the_fields_that_its_body_demands(autojump_clock: trio.testing.MockClock, method: str, params: Json, name: str | None) -> None:
    async def server(asked: Asked, wire: Wire) -> None:
        await wire.json({"id": asked.message["id"], "result": {}})

    async with upstream_for(server) as (upstream, peer):
        await ask(upstream, modern(method, params, http=False))
        asked = peer.asked[0]
        assert (asked["mcp-protocol-version"], asked["mcp-method"], asked["mcp-name"]) == (MODERN, method, name)
        assert (asked["content-type"], asked["accept"]) == ("application/json", "application/json, text/event-stream")
        assert asked["mcp-session-id"] is None


async def test_a_legacy_message_gets_the_version_once_it_is_agreed_on(autojump_clock: trio.testing.MockClock) -> None:
    async def server(asked: Asked, wire: Wire) -> None:
        if "id" not in asked.message:
            return await wire.answer(202)
        await wire.json({"id": asked.message["id"], "result": {}}, mcp_session_id="theirs")

    async with upstream_for(server) as (upstream, peer):
        session = Session(b"stdio")
        await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, session, None))
        session.version = LEGACY
        await ask(upstream, legacy("tools/list", id=1, session=session, headers=None))
        with legacy("notifications/initialized", id=NO_ID, session=session, headers=None) as note:
            await upstream.notify(note)
        await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 2, session, None))
        assert [asked["mcp-protocol-version"] for asked in peer.asked] == [None, LEGACY, LEGACY, None]
        assert [asked["mcp-session-id"] for asked in peer.asked] == [None, "theirs", "theirs", "theirs"]


# --- tools/list

@pytest.mark.parametrize("events", [False, True])
async def test_tools_with_invalid_annotations_are_dropped_and_the_rest_stays_byte_for_byte(
        autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, events: bool) -> None:  # fmt: skip
    odd: Json = {"name": "odd", "inputSchema": 5, "x": 1.50}
    async with upstream_for(Strict([TOOL, INVALID, odd, PLAIN, {"no": "name"}], events=events)) as (upstream, _):
        with caplog.at_level(logging.WARNING, "shadowproxy"):
            reply = (await ask(upstream, listing()))[-1]
        assert reply["result"] == {"tools": [TOOL, odd, PLAIN, {"no": "name"}], "ttlMs": 5}
        assert "invalid" in caplog.text


async def test_an_answer_that_is_no_list_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    answers: list[Json] = [{"error": {"code": -32603, "message": "no"}}, {"result": {"tools": 5}}, {"result": 5}, {"result": {}}]
    for answer in answers:
        async def server(asked: Asked, wire: Wire, answer: Json = answer) -> None:
            await wire.json({"id": asked.message["id"], **answer})

        async with upstream_for(server) as (upstream, _):
            assert (await ask(upstream, listing()))[0] == {"jsonrpc": "2.0", "id": 1, **answer}


# --- Mcp-Param-*

async def test_what_was_listed_is_mirrored(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Strict([PLAIN, TOOL])) as (upstream, peer):
        await ask(upstream, listing())
        assert "result" in (await ask(upstream, query(2)))[0]
        assert (peer.asked[-1]["mcp-param-region"], peer.asked[-1]["mcp-param-n"]) == ("eu", "7")
        assert len(peer.asked) == 2


@pytest.mark.parametrize("pages", [[[TOOL]], [[PLAIN], [INVALID], [TOOL]]])
async def test_a_mismatch_is_mended_by_listing_the_tools_and_asking_once_more(autojump_clock: trio.testing.MockClock, pages: list[list[Json]]) -> None:
    async with upstream_for(Strict(*pages)) as (upstream, peer):
        exchange = query(7)
        reply = await ask(upstream, exchange)
        assert (reply[0]["id"], "result" in reply[0], exchange.status) == (7, True, 200)
        assert [asked.message["method"] for asked in peer.asked] == ["tools/call", *["tools/list"] * len(pages), "tools/call"]
        assert all(asked.message["params"]["_meta"] == peer.asked[0].message["params"]["_meta"] for asked in peer.asked)
        await ask(upstream, query(8))
        assert len(peer.asked) == len(pages) + 3, "and from now on it is known"


async def test_a_mismatch_that_the_list_does_not_explain_is_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Strict([PLAIN])) as (upstream, peer):
        exchange = query()
        assert (await ask(upstream, exchange))[0]["error"]["code"] == -32020
        assert exchange.status == 400
        assert len(peer.asked) == 2


async def test_a_tool_that_changed_meanwhile_is_learnt_anew(autojump_clock: trio.testing.MockClock) -> None:
    server = Strict([TOOL])
    async with upstream_for(server) as (upstream, peer):
        await ask(upstream, listing())
        properties = {**SCHEMA["properties"], "region": {"type": "string", "x-mcp-header": "Zone"}}
        server.pages, server.header = ([{"name": "query", "inputSchema": {"type": "object", "properties": properties}}],), "mcp-param-zone"
        assert "result" in (await ask(upstream, query()))[0]
        assert peer.asked[-1]["mcp-param-zone"] == "eu"
        assert peer.asked[-1]["mcp-param-region"] is None


async def test_a_change_that_the_server_tells_of_is_heeded(autojump_clock: trio.testing.MockClock) -> None:
    class Telling(Strict):
        async def __call__(self, asked: Asked, wire: Wire) -> None:
            if asked.message["method"] != "subscriptions/listen":
                return await super().__call__(asked, wire)
            await wire.begin_events()
            await wire.event({"method": "notifications/prompts/list_changed"})
            await wire.event({"method": "notifications/tools/list_changed"})
            await wire.event({"id": asked.message["id"], "result": {}})
            await wire.end_events()

    async with upstream_for(Telling([TOOL])) as (upstream, _):
        await ask(upstream, listing())
        assert upstream.tools.fields(query().request)
        with modern("subscriptions/listen", {}, 9, http=False) as exchange:
            told: list[Any] = []
            async for item in cast("Replies", await upstream.call(exchange)):
                assert isinstance(item, Message)
                told.append((item.method, bool(upstream.tools.fields(query().request))))
        assert told == [("notifications/prompts/list_changed", True), ("notifications/tools/list_changed", False), (None, False)]
        assert "result" in (await ask(upstream, query()))[0], "learnt anew"


async def test_a_pool_of_one_is_enough_for_that(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(Strict([TOOL]), pool=1) as (upstream, _):
        with trio.fail_after(1):
            assert "result" in (await ask(upstream, query()))[0]


async def test_a_list_without_end_is_not_read_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    class Endless(Strict):
        async def __call__(self, asked: Asked, wire: Wire) -> None:
            if asked.message["method"] == "tools/list":
                return await wire.json({"id": asked.message["id"], "result": {"tools": [], "nextCursor": "again"}})
            await super().__call__(asked, wire)

    async with upstream_for(Endless([])) as (upstream, peer):
        assert (await ask(upstream, query()))[0]["error"]["code"] == -32020
        assert len(peer.asked) == 51
