"""The endpoint: one message in, one answer out, in both eras; and every way of being refused, with the request's id."""
from __future__ import annotations

import gc
import json

import pytest
import trio
from dialogue import META, MODERN, NO_ID, POST, legacy, message, modern, plain
from fakes import FakeUpstream, Feed, answer_to, failing, feeding, hang, note, result_of
from trio.testing import MockClock
from wires import Response, open_house, request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import Overloaded, ProxyError, SpecError, UpstreamAnswered, UpstreamBroken, UpstreamExited
from shadowproxy.exchange import Call, Exchange, Reply
from shadowproxy.wire.jsonrpc import BadMessage, Message
from shadowproxy.wire.sse import SseParser


# ---------------------------------------------------- requests
@pytest.mark.parametrize("exchange", [legacy("tools/list"), modern("tools/list")], ids=["legacy", "modern"])
async def test_a_request_reaches_the_upstream_and_its_response_the_client(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().post(exchange)
        assert (response.status, response["content-type"], response["transfer-encoding"]) == (200, "application/json", None)
        assert response.json == {"jsonrpc": "2.0", "id": 1, "result": {"of": "tools/list"}}
        (asked,) = house.upstream.calls
    assert (asked.era, asked.session, plain(asked.request)) == (exchange.era, None, plain(exchange.request))
    assert set(exchange.headers or ()) <= set(asked.headers or ())
    assert house.upstream.open == set()


async def test_a_response_that_came_as_an_event_leaves_as_one_and_in_one_piece(autojump_clock: MockClock) -> None:
    async def as_event(exchange: Exchange) -> Reply:
        reply = answer_to(exchange)
        reply.event_id, exchange.as_event = b"7", True
        return reply

    async with open_house(FakeUpstream(as_event)) as house:
        response = await house.connect().post(legacy("tools/list"))
        assert (response.status, response["content-type"], response["transfer-encoding"]) == (200, "text/event-stream", None)
        (event,) = SseParser(10_000).feed(response.body)
        assert (event.id, json.loads(event.data)) == (b"7", {"jsonrpc": "2.0", "id": 1, "result": {"of": "tools/list"}})


@pytest.mark.parametrize(("version", "params", "era"), [
    (None, {}, "legacy"),
    ("2024-11-05", {}, "legacy"),
    ("2025-11-25", {}, "legacy"),
    (" 2025-11-25\t", {}, "legacy"),
    (MODERN, {}, "modern"),  # it is still wrong: the upstream's duties say so
    ("2030-01-01", {}, "modern"),
    (None, {"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}, "modern"),
    (None, {"_meta": {"io.modelcontextprotocol\\/protocolVersion": MODERN}}, "legacy"),  # a backslash in the key: another key
    (None, {"_meta": {"progressToken": 1}}, "legacy"),
    (None, {"arguments": {"io.modelcontextprotocol/protocolVersion": MODERN}}, "legacy"),
])  # fmt: skip
async def test_the_era_of_a_message(autojump_clock: MockClock, version: str | None, params: dict[str, object], era: str) -> None:
    async with open_house(FakeUpstream()) as house:
        fields = {} if version is None else {"mcp_protocol_version": version}
        assert (await house.connect().post(legacy("tools/list", params), **fields)).status == 200
        assert [exchange.era for exchange in house.upstream.calls] == [era]


async def test_an_escaped_slash_spells_the_same_key(autojump_clock: MockClock) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol\\/protocolVersion":"2026-07-28"}}}'
    async with open_house(FakeUpstream()) as house:
        await house.connect().ask(body=body, fields=POST)
        assert [exchange.era for exchange in house.upstream.calls] == ["modern"]


@pytest.mark.parametrize("id", ["1", '"1"', '""', "-5", "9007199254740993", '"\\u00e9"', '"' + "x" * 1000 + '"'])
async def test_ids_come_back_byte_for_byte(autojump_clock: MockClock, id: str) -> None:
    async with open_house(FakeUpstream()) as house:
        for call in (house.upstream.on_call, failing(Overloaded("full"))):
            house.upstream.on_call = call
            response = await house.connect().ask(body=b'{"jsonrpc":"2.0","method":"x","id":%b}' % id.encode(), fields=POST)
            assert b'"id":%b,' % id.encode() in response.body


async def test_what_the_upstream_says_of_status_and_headers_is_passed_on(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Message:
        exchange.status, exchange.reply_headers = 404, ((b"x-upstream", b"yes"),)
        return answer_to(exchange)

    async with open_house(FakeUpstream(call)) as house:
        response = await house.connect().post(modern("nothing/such"))
        assert (response.status, response["x-upstream"]) == (404, "yes")


async def test_clients_on_one_connection_and_on_many_get_their_own_answers(autojump_clock: MockClock) -> None:
    """All of them use the same id."""

    async def call(exchange: Exchange) -> Message:
        wait = float(bytes(exchange.request.params()["wait"]))
        await trio.sleep(wait)
        return answer_to(exchange, wait=wait)

    async def talk(number: int) -> None:
        client = house.connect()
        for wait in (number % 7, number % 3, 0.5):
            response = await client.post(legacy("x", {"wait": wait}))
            assert result_of(response.json) == {"of": "x", "wait": wait}

    async with open_house(FakeUpstream(call)) as house:
        async with trio.open_nursery() as clients:
            for number in range(40):
                clients.start_soon(talk, number)
        assert house.gateway.admission.in_flight == 0


# ---------------------------------------------------- what expects no answer
@pytest.mark.parametrize("exchange", [
    legacy("notifications/progress", {"progress": 1}, NO_ID),
    Exchange(message(id=7, result={}), "legacy", None, POST),
    Exchange(message(id=7, error={"code": -1, "message": "no"}), "legacy", None, POST),
    Exchange(message(method="notifications/cancelled", params={"_meta": META}), "modern", None, POST),
], ids=["notification", "response", "error response", "modern notification"])  # fmt: skip
async def test_it_is_accepted_once_the_upstream_has_it(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().post(exchange)
        assert (response.status, response.body) == (202, b"")
        assert [plain(seen.request) for seen in house.upstream.notes] == [plain(exchange.request)]
        assert house.upstream.calls == []


@pytest.mark.parametrize(("exchange", "id"), [(legacy("notifications/x", id=NO_ID), None), (Exchange(message(id=7, result={}), "legacy", None, POST), 7)])
async def test_a_notification_that_the_upstream_refuses_is_refused(autojump_clock: MockClock, exchange: Exchange, id: int | None) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise UpstreamExited("gone")

    async with open_house(FakeUpstream()) as house:
        house.upstream.on_notify = refuse
        response = await house.connect().post(exchange)
        assert (response.status, response.code, response.json["id"]) == (502, 1002, id)


# ---------------------------------------------------- refusals
@pytest.mark.parametrize(("body", "status", "code"), [
    (b"", 400, -32700),
    (b"{", 400, -32700),
    (b"nonsense", 400, -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', 400, -32700),
    (b"{}", 400, -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"x"}', 400, -32600),
    (b'{"jsonrpc":"2.0","id":1}', 400, -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', 400, -32600),
    (b"7", 400, -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"x"}', 400, -32600),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"x"}', 400, -32600),
    (b'{"jsonrpc":"2.0","id":{},"method":"x"}', 400, -32600),
    (b'{"jsonrpc":"2.0","id":"' + b"x" * 2000 + b'","method":"x"}', 400, -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, -32700),
])  # fmt: skip
async def test_what_is_no_message_is_refused_before_anybody_sees_it(autojump_clock: MockClock, body: bytes, status: int, code: int) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        response = await client.ask(body=body, fields=POST)
        assert (response.status, response.code, response["content-type"]) == (status, code, "application/json")
        assert (house.upstream.calls, house.upstream.notes) == ([], [])
        assert (await client.post(legacy("x"))).status == 200


@pytest.mark.parametrize(("kind", "status"), [
    ("application/json", 200), ("application/json; charset=utf-8", 200), ("application/json;charset=utf-8", 200), ("Application/JSON", 200),
    ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("multipart/form-data", 415), ("application/jsonp", 415),
    ("application/json-patch+json", 415), ("", 415),
])  # fmt: skip
async def test_content_types(autojump_clock: MockClock, kind: str, status: int) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(body=legacy("x").request.encode(), content_type=kind)
        assert (response.status, len(house.upstream.calls)) == (status, status == 200)


async def test_without_a_content_type_it_is_refused(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        assert (await house.connect().ask(body=legacy("x").request.encode())).status == 415


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "SEARCH"])
async def test_methods_that_are_not_served_say_which_are(autojump_clock: MockClock, method: str) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(method)
        assert (response.status, response.code, response["allow"]) == (405, 1204, "POST, GET, DELETE, OPTIONS")


@pytest.mark.parametrize("path", ["/", "/mcp//", "/mcp/x", "/MCP", "/other", "//mcp", "/mcp%2f%2f", "*"])
async def test_other_paths_are_not_found(autojump_clock: MockClock, path: str) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(target=path, body=legacy("x").request.encode(), fields=POST)
        assert (response.status, house.upstream.calls) == (404, [])
        assert "/mcp" in response.json["error"]["message"]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/%6dcp", "http://localhost/mcp"])
async def test_ways_to_write_the_path(autojump_clock: MockClock, path: str) -> None:
    async with open_house(FakeUpstream()) as house:
        assert (await house.connect().ask(target=path, body=legacy("x").request.encode(), fields=POST)).status == 200


async def test_the_path_is_a_setting(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), path="/elsewhere") as house:
        assert (await house.connect().ask(target="/elsewhere?x=1", body=legacy("x").request.encode(), fields=POST)).status == 200
        assert (await house.connect().ask(target="/mcp", body=legacy("x").request.encode(), fields=POST)).status == 404


@pytest.mark.parametrize("name", ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "content-type", "origin", "last-event-id", "authorization"])
async def test_a_header_that_decides_something_may_be_there_once(autojump_clock: MockClock, name: str) -> None:
    value = {"content-type": b"application/json", "origin": b"http://localhost", "mcp-protocol-version": b"2025-11-25"}.get(name, b"x")
    twice = ((name.encode(), value), (name.title().encode(), value))
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(body=legacy("x").request.encode(), fields=(*(f for f in POST if f[0] != name.encode()), *twice))
        assert (response.status, response.code, name in response.json["error"]["message"]) == (400, -32020, True)
        assert house.upstream.calls == []


async def test_other_headers_may_be_there_twice(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        assert (await house.connect().post(legacy("x"), accept="*/*", x_other="1")).status == 200


@pytest.mark.parametrize(("error", "status", "code"), [
    (SpecError(400, -32020, "Header mismatch"), 400, -32020),
    (SpecError(404, -32601, "Method not found"), 404, -32601),
    (UpstreamBroken("not JSON"), 502, 1003),
    (UpstreamExited("it has gone", {"stderr": ["last words"]}), 502, 1002),
    (BadMessage("params must be an object", -32602), 400, -32602),
])  # fmt: skip
async def test_a_failure_of_the_exchange_is_its_answer(autojump_clock: MockClock, error: Exception, status: int, code: int) -> None:
    async with open_house(FakeUpstream(failing(error))) as house:
        client = house.connect()
        for id in (1, "1"):
            response = await client.post(legacy("x", id=id))
            assert (response.status, response.code, response.json["id"]) == (status, code, id)
        if isinstance(error, ProxyError):
            assert response.json["error"].get("data", {}) == error.payload()
        assert (house.upstream.open, house.gateway.admission.in_flight) == (set(), 0)


async def test_a_refusal_in_http_is_passed_on_as_it_came(autojump_clock: MockClock) -> None:
    refusal = UpstreamAnswered(401, [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")], b"who are you?")
    async with open_house(FakeUpstream(failing(refusal))) as house:
        client = house.connect()
        response = await client.post(modern("x"))
        assert (response.status, response["www-authenticate"], response["content-type"], response.body) == (401, "Bearer", "text/plain", b"who are you?")
        assert (await client.post(modern("x"))).status == 401


async def test_past_the_limits_of_exchanges_the_client_is_told_to_come_back(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(hang), limits=Limits(exchanges=1, queue=0)) as house:
        first = house.connect()
        await first.send(request_bytes(body=modern("x").request.encode(), fields=modern("x").headers or ()))
        await trio.sleep(1)
        response = await house.connect().post(modern("x"))
        assert (response.status, response.code, response["retry-after"]) == (503, 1101, "1")
        first.leave()
        await trio.sleep(1)
        assert house.gateway.admission.in_flight == 0


async def test_during_the_drain_no_exchange_begins(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        house.gateway.admission.draining = True
        response = await house.connect().post(modern("x"))
        assert (response.status, response.json["id"], response["retry-after"]) == (503, 1, "1")


# ---------------------------------------------------- the deadline
async def deadline_of(exchange: Exchange) -> Response:
    async with open_house(FakeUpstream(hang), timeouts=Timeouts(request=7)) as house:
        client = house.connect()
        began = trio.current_time()
        response = await client.post(exchange)
        assert 7 <= trio.current_time() - began <= 7.3
        assert (house.upstream.cancelled, house.upstream.open) == (house.upstream.calls, set())
        house.upstream.on_call = FakeUpstream().on_call
        assert (await client.post(exchange)).status == 200
        return response


@pytest.mark.parametrize("exchange", [legacy("x", id="a"), modern("x", id="a")], ids=["legacy", "modern"])
async def test_no_answer_in_time_is_a_gateway_timeout(autojump_clock: MockClock, exchange: Exchange) -> None:
    response = await deadline_of(exchange)
    assert (response.status, response.code, response.json["id"], response["connection"]) == (504, 1004, "a", None)
    assert "7 s" in response.json["error"]["message"]


# ---------------------------------------------------- interceptors, memory
async def test_an_interceptor_sees_the_exchange_of_the_client(autojump_clock: MockClock) -> None:
    class Marking:
        async def call(self, next: Call, exchange: Exchange) -> Reply:
            reply = await next(exchange)
            exchange.reply_headers = (*exchange.reply_headers, (b"x-seen", exchange.request.method.encode() if exchange.request.method else b""))
            return reply

    async with open_house(FakeUpstream(), [Marking()]) as house:
        assert (await house.connect().post(modern("tools/list")))["x-seen"] == "tools/list"


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_exchange_leaves_no_reference_cycle(autojump_clock: MockClock, streamed: bool) -> None:
    upstream = FakeUpstream()
    async with open_house(upstream) as house:
        client = house.connect()

        async def once() -> None:
            exchange = modern("x")
            if streamed:
                upstream.on_call = feeding(Feed(note(), message(id=1, result={}), ended=True))
            assert (await client.post(exchange, origin="http://localhost")).status == 200
            upstream.calls.clear()

        await once()
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await once()
            assert gc.collect() == 0
        finally:
            gc.enable()
