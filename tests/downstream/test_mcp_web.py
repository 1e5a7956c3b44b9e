"""Web pages at the endpoint: which Host and Origin get in, and what a browser is told (Fetch standard, "CORS protocol")."""
from __future__ import annotations

import pytest
from dialogue import NO_ID, legacy, modern
from fakes import FakeUpstream, Feed, failing, feeding, note
from trio.testing import MockClock
from wires import open_house

from shadowproxy.errors import UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange
from shadowproxy.wire.jsonrpc import Message

PAGE = "http://localhost:6274"
ANSWERS = {"access-control-allow-origin": PAGE, "access-control-expose-headers": "mcp-session-id, www-authenticate, retry-after", "vary": "origin"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "localhost.evil.example", ""])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "OPTIONS"])
async def test_a_rebound_host_gets_nowhere(autojump_clock: MockClock, method: str, host: str) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(method, host=host)
        assert (response.status, response.code, response["access-control-allow-origin"]) == (403, 1203, None)
        assert house.upstream.calls == house.upstream.listeners == house.upstream.ends == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "OPTIONS"])
async def test_a_foreign_page_gets_nowhere(autojump_clock: MockClock, method: str, origin: str) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(method, origin=origin)
        assert (response.status, response.code, response["access-control-allow-origin"]) == (403, 1203, None)
        assert house.upstream.calls == house.upstream.listeners == house.upstream.ends == []


async def test_who_gets_in_is_a_setting(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), allowed_hosts=("mcp.example",), allowed_origins=("https://app.example",)) as house:
        assert (await house.connect().post(modern("x"), host="mcp.example", origin="https://app.example")).status == 200
        assert (await house.connect().post(modern("x"), host="other.example")).status == 403


async def test_who_is_no_web_page_is_told_nothing_of_it(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        assert [(await house.connect().post(modern("x")))[name] for name in ANSWERS] == [None] * 3


@pytest.mark.parametrize(("exchange", "status"), [(modern("x"), 200), (legacy("initialize"), 200), (legacy("notifications/x", id=NO_ID), 202)])
async def test_a_page_may_read_its_answers(autojump_clock: MockClock, exchange: Exchange, status: int) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().post(exchange, origin=PAGE)
        assert (response.status, {name: response[name] for name in ANSWERS}) == (status, ANSWERS)


@pytest.mark.parametrize(("error", "status"), [(UpstreamBroken("no"), 502), (UpstreamAnswered(401, ((b"www-authenticate", b"Bearer"),), b""), 401)])
async def test_a_page_may_read_refusals_too(autojump_clock: MockClock, error: Exception, status: int) -> None:
    async with open_house(FakeUpstream(failing(error))) as house:
        response = await house.connect().post(modern("x"), origin=PAGE)
        assert (response.status, {name: response[name] for name in ANSWERS}) == (status, ANSWERS)
        response = await house.connect().ask("PUT", origin=PAGE)
        assert (response.status, {name: response[name] for name in ANSWERS}) == (405, ANSWERS)
        response = await house.connect().ask("POST", origin=PAGE)
        assert (response.status, {name: response[name] for name in ANSWERS}) == (415, ANSWERS)


async def test_a_page_may_read_streams(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(feeding(Feed(note(), ended=True)))) as house:
        assert {name: (await house.connect().post(modern("x"), origin=PAGE))[name] for name in ANSWERS} == ANSWERS
        stream = await house.connect().get(origin=PAGE)
        assert {name: stream.head[name] for name in ANSWERS} == ANSWERS


async def test_what_the_upstream_says_of_cors_is_not_passed_on(autojump_clock: MockClock) -> None:
    """It speaks of its own pages, and two such headers are none to a browser."""

    async def call(exchange: Exchange) -> Message:
        exchange.reply_headers = ((b"access-control-allow-origin", b"*"), (b"x-upstream", b"1"))
        return await FakeUpstream().on_call(exchange)  # type: ignore[return-value]  # the echo is a Message

    async with open_house(FakeUpstream(call)) as house:
        response = await house.connect().post(modern("x"), origin=PAGE)
        assert (response["access-control-allow-origin"], response["x-upstream"]) == (PAGE, "1")


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/sse/messages"])
async def test_a_preflight_is_answered_here(autojump_clock: MockClock, path: str) -> None:
    async with open_house(FakeUpstream(), sse_path="/sse") as house:
        client = house.connect()
        asked = "content-type, mcp-protocol-version, x-anything"
        response = await client.ask("OPTIONS", path, origin=PAGE, access_control_request_method="POST", access_control_request_headers=asked)
        assert (response.status, response.body) == (204, b"")
        assert (response["access-control-allow-origin"], response["vary"]) == (PAGE, "origin")
        assert response["access-control-allow-methods"] == "POST, GET, DELETE"
        assert response["access-control-allow-headers"] == asked
        assert response["access-control-max-age"] == "600"
        assert (await client.post(modern("x"), origin=PAGE)).status == 200
        assert len(house.upstream.calls) == 1


async def test_options_from_no_page_names_the_methods(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask("OPTIONS")
        assert (response.status, response["allow"], response["access-control-allow-origin"]) == (204, "POST, GET, DELETE, OPTIONS", None)
