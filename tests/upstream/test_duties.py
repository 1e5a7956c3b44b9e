"""A server's HTTP duties: which requests are refused in its stead, with what status; and how the rules of its tools are learnt."""
from __future__ import annotations

from collections.abc import Sequence

import pytest
from dialogue import META, Json, message, modern, plain

from shadowproxy.errors import SpecError
from shadowproxy.exchange import Exchange
from shadowproxy.upstream.duties import PAGES, ToolRules, check, status_of
from shadowproxy.wire.jsonrpc import Message

VERSION, METHOD, NAME = (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"query")
ALL = (VERSION, METHOD, NAME)


def call(headers: Sequence[tuple[bytes, bytes]] | None, arguments: Json | None = None, name: str = "query") -> Exchange:
    return modern("tools/call", {"name": name, "arguments": arguments or {}}, headers=headers, http=headers is not None)


def refused(exchange: Exchange) -> tuple[int, int]:
    with pytest.raises(SpecError) as caught:
        check(exchange)
    return caught.value.http_status, caught.value.rpc_code


@pytest.mark.parametrize("headers", [
    (METHOD, NAME), (VERSION, NAME), (VERSION, METHOD), ((b"mcp-protocol-version", b"2025-11-25"), METHOD, NAME), (VERSION, (b"mcp-method", b"tools/list"), NAME),
    (VERSION, METHOD, (b"mcp-name", b"other")), (*ALL, (b"mcp-name", b"query")), (VERSION, (b"mcp-method", b"Tools/Call"), NAME), (VERSION, METHOD, (b"mcp-name", b"=?base64?!?=")),
])
def test_headers_that_do_not_say_what_the_body_says(headers: Sequence[tuple[bytes, bytes]]) -> None:
    assert refused(call(headers)) == (400, -32020)


def test_a_request_without_its_meta() -> None:
    for params in ({"name": "query"}, {"name": "query", "_meta": {}}, {"name": "query", "_meta": {**META, "io.modelcontextprotocol/clientCapabilities": 5}}):
        exchange = Exchange(message(id=1, method="tools/call", params=params), "modern", None, ALL)
        assert refused(exchange) == (400, -32602)


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"])
def test_methods_that_are_no_more(method: str) -> None:
    assert refused(modern(method, {})) == (404, -32601)


def test_what_is_right_passes_and_so_does_what_came_over_stdio() -> None:
    check(call(ALL))
    check(call((*ALL, (b"mcp-param-whatever", b"x"))))
    check(call(None))
    check(modern("server/discover", {}))


@pytest.mark.parametrize(("answer", "status"), [
    ({"result": {}}, 200), ({"error": {"code": -32601}}, 404), ({"error": {"code": -32602}}, 400), ({"error": {"code": -32020}}, 400), ({"error": {"code": -32021}}, 400),
    ({"error": {"code": -32022}}, 400), ({"error": {"code": -32600}}, 400), ({"error": {"code": -32700}}, 400), ({"error": {"code": -32603}}, 200),
    ({"error": {"code": 5}}, 200), ({"error": {"code": "x"}}, 200), ({"error": 5}, 200),
])
def test_the_status_of_an_answer(answer: Json, status: int) -> None:
    assert status_of(message(id=1, **answer)) == status


# --- Mcp-Param-*

def schema(header: str = "Region") -> Json:
    return {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": header}}}


class Server:
    """Answers `tools/list`, page by page, and counts how often it is asked."""

    def __init__(self, *pages: list[Json]) -> None:
        self.pages = pages
        self.asked: list[Json] = []

    async def ask(self, request: Message) -> Message:
        params = plain(request)["params"]
        self.asked.append(params)
        page = int(params.get("cursor", "0"))
        more: Json = {"nextCursor": str(page + 1)} if page + 1 < len(self.pages) else {}
        return message(id=0, result={"tools": self.pages[page], **more})


QUERY: Json = {"name": "query", "inputSchema": schema()}
EU: Json = {"region": "eu"}
MIRRORED = (*ALL, (b"mcp-param-region", b"eu"))


async def verdict(rules: ToolRules, server: Server, exchange: Exchange) -> str:
    try:
        await rules.check(exchange, server.ask)
    except SpecError as error:
        assert (error.http_status, error.rpc_code) == (400, -32020)
        return "refused"
    return "passed"


async def test_rules_are_learnt_when_first_needed_and_then_kept() -> None:
    rules, server = ToolRules(), Server([{"name": "plain"}], [QUERY])
    assert await verdict(rules, server, modern("tools/list", {})) == "passed"
    assert server.asked == []
    assert [await verdict(rules, server, call(headers, EU)) for headers in (MIRRORED, MIRRORED)] == ["passed", "passed"]
    assert len(server.asked) == 2, "its two pages, once"
    assert [await verdict(rules, server, call((*ALL, *extra), EU)) for extra in ((), [(b"mcp-param-region", b"us")], [(b"mcp-param-region", b"eu")] * 2)] == ["refused"] * 3


async def test_what_a_client_of_stdio_sends_is_not_judged() -> None:
    rules, server = ToolRules(), Server([QUERY])
    assert await verdict(rules, server, call(None, EU)) == "passed"
    assert server.asked == []


async def test_the_list_is_asked_for_in_the_clients_name_but_without_its_token() -> None:
    rules, server = ToolRules(), Server([QUERY])
    exchange = modern("tools/call", {"name": "query", "arguments": EU}, headers=MIRRORED, meta={"progressToken": 1, "traceparent": "x"})
    assert await verdict(rules, server, exchange) == "passed"
    assert server.asked == [{"_meta": {**META, "traceparent": "x"}}]


async def test_a_fault_by_old_rules_is_judged_by_the_newest() -> None:
    rules, server = ToolRules(), Server([QUERY])
    assert await verdict(rules, server, call(MIRRORED, EU)) == "passed"
    server.pages = ([{"name": "query", "inputSchema": schema("Zone")}],)
    assert await verdict(rules, server, call((*ALL, (b"mcp-param-zone", b"eu")), EU)) == "passed"
    assert await verdict(rules, server, call(MIRRORED, EU)) == "refused"


async def test_when_they_are_forgotten_they_are_learnt_anew() -> None:
    rules, server = ToolRules(), Server([{"name": "query", "inputSchema": {}}])
    assert await verdict(rules, server, call(ALL, EU)) == "passed"
    server.pages = ([QUERY],)
    rules.forget()
    assert await verdict(rules, server, call(ALL, EU)) == "refused"


async def test_a_list_that_was_asked_for_before_the_tools_changed_is_not_kept() -> None:
    rules, server = ToolRules(), Server([{"name": "query", "inputSchema": {}}])

    async def ask(request: Message) -> Message:
        reply = await server.ask(request)
        if len(server.asked) == 1:
            rules.forget()  # meanwhile
            server.pages = ([QUERY],)
        return reply

    await rules.check(call(ALL, EU), ask)
    with pytest.raises(SpecError):
        await rules.check(call(ALL, EU), ask)


@pytest.mark.parametrize(("reply", "verdict_after"), [
    ({"error": {"code": -32020, "message": "Header mismatch"}}, "refused"), ({"error": {"code": -32602, "message": "x"}}, "passed"), ({"result": {}}, "passed"),
])
async def test_a_server_that_finds_a_mismatch_itself_is_asked_for_its_rules_again(reply: Json, verdict_after: str) -> None:
    rules, server = ToolRules(), Server([{"name": "query", "inputSchema": {}}])
    assert await verdict(rules, server, call(ALL, EU)) == "passed"
    server.pages = ([QUERY],)
    rules.heed(message(id=1, **reply))
    assert await verdict(rules, server, call(ALL, EU)) == verdict_after


async def test_a_tool_that_nobody_knows_is_the_servers_affair() -> None:
    rules, server = ToolRules(), Server([QUERY])
    assert await verdict(rules, server, call(ALL, EU, "unknown")) == "passed"


async def test_a_tool_with_invalid_annotations_mirrors_nothing() -> None:
    twice = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}}
    rules, server = ToolRules(), Server([{"name": "query", "inputSchema": twice}])
    assert await verdict(rules, server, call(ALL, {"a": "x"})) == "passed"


@pytest.mark.parametrize("answer", [
    {"error": {"code": -32601, "message": "no"}}, {"result": 5}, {"result": {"tools": 5}}, {"result": {"tools": [5]}}, {"result": {}},
    {"result": {"tools": [{"name": "query", "inputSchema": 5}]}},
])
async def test_a_server_without_a_list_has_no_rules(answer: Json) -> None:
    async def ask(request: Message) -> Message:
        return message(id=0, **answer)

    await ToolRules().check(call(ALL, EU), ask)


async def test_a_list_without_end_is_not_read_for_ever() -> None:
    asked = 0

    async def ask(request: Message) -> Message:
        nonlocal asked
        asked += 1
        return message(id=0, result={"tools": [], "nextCursor": "again"})

    await ToolRules().check(call(ALL, EU), ask)
    assert asked == PAGES
