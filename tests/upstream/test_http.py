"""The HTTP upstream against a server at the other end of memory streams: answers of every kind, sessions, ids."""
from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from dialogue import NO_ID, POST, all_of, legacy, listening, modern, response_of
from http_upstreams import ask, upstream_for
from peers import Asked, Wire

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import MessageTooLarge, UpstreamAnswered, UpstreamBroken, UpstreamRedirects, UpstreamUnreachable
from shadowproxy.exchange import Session
from shadowproxy.wire.jsonrpc import Message


async def echo(asked: Asked, wire: Wire) -> None:
    """Answers every request with what it was asked for."""
    message = asked.message
    await wire.json({"id": message["id"], "result": {"method": message["method"], "params": message.get("params")}})


# --- what is sent

async def test_a_request_crosses_with_its_fields_and_its_bytes(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(echo) as (upstream, peer):
        exchange = modern("tools/call", {"name": "add", "arguments": {"a": 1.50}}, id="x")
        with exchange:
            reply = await upstream.call(exchange)
            assert isinstance(reply, Message)
            assert exchange.status == 200
        assert (await all_of(reply))[0]["id"] == "x"
        asked = peer.asked[0]
        assert (asked.method, asked.target, asked["host"]) == ("POST", "/mcp?key=1", "server.test")
        assert (asked["mcp-method"], asked["mcp-name"], asked["mcp-protocol-version"]) == ("tools/call", "add", "2026-07-28")
        assert asked.body == exchange.request.encode()
        assert asked["content-length"] == str(len(asked.body))


async def test_one_connection_serves_one_request_after_the_other(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(echo) as (upstream, peer):
        for number in range(10):
            assert (await ask(upstream, modern("tools/list", id=number)))[0]["id"] == number
            await trio.sleep(1)
        assert len(peer.wires) == 1


async def test_bodies_of_a_server_without_length_are_read_to_their_end(autojump_clock: trio.testing.MockClock) -> None:
    async def until_eof(asked: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode())
        wire.close()

    async with upstream_for(until_eof) as (upstream, peer):
        for _ in range(2):
            assert await ask(upstream, modern("tools/list")) == [{"jsonrpc": "2.0", "id": 1, "result": {}}]
        assert len(peer.wires) == 2


# --- what is answered

@pytest.mark.parametrize("fields", [{}, {"event_id": "7", "retry": 5}])
async def test_a_stream_of_the_response_alone_that_came_whole_is_a_message(autojump_clock: trio.testing.MockClock, fields: dict[str, Any]) -> None:
    async def at_once(asked: Asked, wire: Wire) -> None:
        lines = f"id: {fields['event_id']}\nretry: {fields['retry']}\n" if fields else ""
        event = f'{lines}data: {{"jsonrpc":"2.0","id":{asked.message["id"]},"result":{{}}}}\n\n'.encode()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(event) + event)

    async with upstream_for(at_once) as (upstream, _):
        exchange = modern("tools/list", id=5)
        with exchange:
            reply = await upstream.call(exchange)
            assert isinstance(reply, Message)
            assert exchange.as_event
        assert (reply.event_id, reply.retry) == ((b"7", 5) if fields else (None, None))
        assert upstream.statistics()["pool_idle"] == 1


async def test_events_come_one_by_one_and_the_lease_is_back_with_the_last(autojump_clock: trio.testing.MockClock) -> None:
    async def count(asked: Asked, wire: Wire) -> None:
        await wire.begin_events(x_request="7", mcp_session_id="upstream's")
        for step in range(3):
            await trio.sleep(10)
            await wire.event({"method": "notifications/progress", "params": {"progress": step}})
        await wire.event({"id": asked.message["id"], "result": {}})
        await wire.end_events()

    async with upstream_for(count) as (upstream, peer):
        exchange = modern("tools/call", {"name": "count"}, id=5)
        with exchange:
            reply = await upstream.call(exchange)
            assert exchange.reply_headers == [(b"x-request", b"7")]
            assert upstream.statistics()["pool_leased"] == 1
            messages = await all_of(reply)
        assert [message.get("id") for message in messages] == [None, None, None, 5]
        assert upstream.statistics() == {"pool_leased": 0, "pool_idle": 1, "pool_waiting": 0}
        await ask(upstream, modern("tools/call", {"name": "count"}))
        assert len(peer.wires) == 1


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500, 503])
async def test_a_message_is_passed_on_with_its_status(autojump_clock: trio.testing.MockClock, status: int) -> None:
    async def fail(asked: Asked, wire: Wire) -> None:
        await wire.json({"id": 1, "error": {"code": -32601, "message": "no"}}, status, www_authenticate="Bearer")

    async with upstream_for(fail) as (upstream, _):
        exchange = modern("tools/list")
        with exchange:
            assert (await response_of(await upstream.call(exchange)))["error"]["code"] == -32601
            assert exchange.status == status
            assert (b"www-authenticate", b"Bearer") in exchange.reply_headers


@pytest.mark.parametrize(("status", "kind", "body"), [
    (401, "text/plain", b"who are you"), (404, "text/html", b"<html>"), (405, "text/plain", b""), (429, "application/json", b'{"detail":"slow down"}'),
    (500, "application/json", b"oops"), (503, "text/event-stream", b"data: x\n\n"), (406, "application/problem+json", b"{}"),
])
async def test_a_refusal_in_https_own_words_is_passed_on_as_it_came(autojump_clock: trio.testing.MockClock, status: int, kind: str, body: bytes) -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.answer(status, body, content_type=kind, www_authenticate="Bearer x", connection="keep-alive", set_cookie="a=b")

    async with upstream_for(refuse) as (upstream, _):
        for exchange in (modern("tools/list"), legacy("tools/list")):
            with pytest.raises(UpstreamAnswered) as caught, exchange:
                await upstream.call(exchange)
            assert (caught.value.http_status, caught.value.body) == (status, body)
            assert sorted(caught.value.fields) == [(b"content-type", kind.encode()), (b"www-authenticate", b"Bearer x")]


async def test_a_refusals_body_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.answer(500, b"x" * 1_000_000)

    async with upstream_for(refuse) as (upstream, _):
        with pytest.raises(UpstreamAnswered) as caught, modern("tools/list") as exchange:
            await upstream.call(exchange)
        assert len(caught.value.body) == 64 * 1024


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
@pytest.mark.parametrize("body", [b"", b"moved", b'{"jsonrpc":"2.0","id":1,"result":{}}'])
async def test_redirects_are_refused_whatever_comes_with_them(autojump_clock: trio.testing.MockClock, status: int, kind: str, body: bytes) -> None:
    async def redirect(asked: Asked, wire: Wire) -> None:
        await wire.answer(status, body, content_type=kind, location="http://evil.test/mcp")

    async with upstream_for(redirect) as (upstream, peer):
        with pytest.raises(UpstreamRedirects, match=f"HTTP {status}.* to http://evil.test/mcp"), modern("tools/list") as exchange:
            await upstream.call(exchange)
        with pytest.raises(UpstreamRedirects), listening() as stream:
            await upstream.listen(stream)
        assert {asked["host"] for asked in peer.asked} == {"server.test"}


@pytest.mark.parametrize(("head", "body", "why"), [
    (b"content-type: text/plain\r\n", b"hello", "with text/plain where JSON or an event stream belongs"),
    (b"", b"", "with nothing where"),
    (b"content-type: application/json\r\n", b"{}", "no JSON-RPC message"),
    (b"content-type: application/json\r\n", b"[]", "no JSON-RPC message"),
    (b"content-type: application/json\r\n", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', "not a response"),
    (b"content-type: application/json\r\n", b'{"jsonrpc":"2.0","id":2,"result":{}}', "another id"),
    (b"content-type: application/json\r\n", b'{"jsonrpc":"2.0","id":"1","result":{}}', "another id"),
    (b"content-type: application/json\r\n", b'{"jsonrpc":"2.0","id":1.0,"result":{}}', "another id"),
    (b"content-type: application/json\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b", "compressed its answer"),
    (b"content-type: text/event-stream\r\ncontent-encoding: br\r\n", b"\x1f\x8b", "compressed its answer"),
])
@pytest.mark.parametrize("length", [True, False])
async def test_answers_that_are_none(autojump_clock: trio.testing.MockClock, head: bytes, body: bytes, why: str, length: bool) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        if length:
            head_too = b"content-length: %d\r\n" % len(body)
            return await wire.send(b"HTTP/1.1 200 OK\r\n" + head + head_too + b"\r\n" + body)
        await wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        wire.close()

    async with upstream_for(answer) as (upstream, _):
        with pytest.raises(UpstreamBroken, match=why), modern("tools/list") as exchange:
            await upstream.call(exchange)


@pytest.mark.parametrize("id", [1, 0, -7, 10**30, "a", "\u00e9\n", "1", ""])
async def test_ids_come_back_however_the_server_spells_them(autojump_clock: trio.testing.MockClock, id: Any) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        spelled = "".join(f"\\u{ord(character):04x}" for character in id) if isinstance(id, str) else str(id)
        text = f'"{spelled}"' if isinstance(id, str) else spelled
        await wire.answer(200, f'{{"jsonrpc": "2.0", "id" : {text} , "result": {{}}}}'.encode(), content_type="application/json; charset=utf-8")

    async with upstream_for(answer) as (upstream, _):
        assert (await ask(upstream, modern("tools/list", id=id)))[0]["id"] == id


async def test_an_error_about_an_unreadable_id_is_given_that_of_its_request(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.json({"id": None, "error": {"code": -32600, "message": "no"}}, 400)

    async with upstream_for(refuse) as (upstream, _):
        assert (await ask(upstream, modern("tools/list", id="x")))[0] == {"jsonrpc": "2.0", "id": "x", "error": {"code": -32600, "message": "no"}}


async def test_a_result_for_no_id_is_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        await wire.json({"id": None, "result": {}})

    async with upstream_for(answer) as (upstream, _):
        with pytest.raises(UpstreamBroken, match="another id"):
            await ask(upstream, modern("tools/list"))


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;v=1"])
async def test_media_types_have_no_case(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        await wire.answer(200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode(), content_type=kind)

    async with upstream_for(answer) as (upstream, _):
        assert (await ask(upstream, modern("tools/list")))[0]["result"] == {}


async def test_fields_come_back_even_if_there_are_few(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(asked: Asked, wire: Wire) -> None:
        await wire.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request: 7\r\n\r\n{"jsonrpc":"2.0","id":1,"result":{}}')
        wire.close()

    async with upstream_for(answer) as (upstream, _):
        exchange = modern("tools/list")
        await ask(upstream, exchange)
        assert exchange.reply_headers == [(b"x-request", b"7")]


async def test_an_answer_that_is_too_large_is_the_upstreams_fault(autojump_clock: trio.testing.MockClock) -> None:
    async def huge(asked: Asked, wire: Wire) -> None:
        await wire.json({"id": 1, "result": "x" * 20_000})

    async with upstream_for(huge, limits=Limits(message=10_000)) as (upstream, _):
        with pytest.raises(MessageTooLarge, match=r"larger than 10000 bytes \(limits\.message\)") as caught:
            await ask(upstream, modern("tools/list"))
        assert caught.value.http_status == 502


# --- connections that fail

async def test_a_connection_that_takes_too_long_names_the_setting(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_for(echo, timeouts=Timeouts(connect=3)) as (upstream, peer):
        peer.dialling = trio.sleep_forever
        start = trio.current_time()
        with pytest.raises(UpstreamUnreachable, match=r"no connection to http://server\.test/mcp\?key=1 within 3 s \(timeouts\.connect\)"):
            await ask(upstream, modern("tools/list"))
        assert trio.current_time() - start == 3


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"])
async def test_a_server_that_hangs_up_is_asked_only_once(autojump_clock: trio.testing.MockClock, before: bytes) -> None:
    async def hang_up(asked: Asked, wire: Wire) -> None:
        await wire.send(before)
        wire.close()

    async with upstream_for(hang_up) as (upstream, peer):
        with pytest.raises(UpstreamBroken):
            await ask(upstream, modern("tools/call", {"name": "pay"}))
        assert len(peer.asked) == 1, "a POST must not be sent twice"


# --- notifications

async def test_a_notification_is_accepted_and_its_connection_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async def accept(asked: Asked, wire: Wire) -> None:
        await wire.answer(202)

    async with upstream_for(accept) as (upstream, peer):
        for _ in range(3):
            with legacy("notifications/initialized", id=NO_ID) as exchange:
                await upstream.notify(exchange)
        assert len(peer.wires) == 1
        assert json.loads(peer.asked[0].body) == {"jsonrpc": "2.0", "method": "notifications/initialized"}


async def test_a_refused_notification_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.answer(400, b"no", content_type="text/plain")

    async with upstream_for(refuse) as (upstream, _):
        with pytest.raises(UpstreamAnswered) as caught, legacy("notifications/x", id=NO_ID) as exchange:
            await upstream.notify(exchange)
        assert (caught.value.http_status, caught.value.body) == (400, b"no")


async def test_whatever_a_server_says_to_a_notification_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async def chatter(asked: Asked, wire: Wire) -> None:
        await wire.begin_events()
        for _ in range(100):
            await wire.event({"method": "notifications/message", "params": {"data": "x" * 1000}})
        await wire.end_events()

    async with upstream_for(chatter, limits=Limits(message=5000)) as (upstream, peer):
        for _ in range(2):
            with legacy("notifications/x", id=NO_ID) as exchange:
                await upstream.notify(exchange)
        assert len(peer.wires) == 1


# --- GET and DELETE

async def test_a_get_stream_is_passed_on_with_its_fields_and_ends_with_its_exchange(autojump_clock: trio.testing.MockClock) -> None:
    async def stream(asked: Asked, wire: Wire) -> None:
        await wire.begin_events(x_request="7")
        for number in range(2):
            await wire.event({"method": "notifications/tools/list_changed"}, id=str(number))
        await wire.gone()

    async with upstream_for(stream) as (upstream, peer):
        session = Session(b"ours")
        session.upstream_id = b"theirs"
        fields = [*POST, (b"last-event-id", b"41"), (b"mcp-session-id", b"ours")]
        with listening(session, fields) as exchange:
            replies = await upstream.listen(exchange)
            got = [await replies.__anext__() for _ in range(2)]
            assert exchange.reply_headers == [(b"x-request", b"7")]
        assert [item.event_id for item in got if isinstance(item, Message)] == [b"0", b"1"]
        assert (peer.asked[0].method, peer.asked[0]["last-event-id"], peer.asked[0]["mcp-session-id"]) == ("GET", "41", "theirs")
        await trio.testing.wait_all_tasks_blocked()
        assert peer.open == 0


async def test_a_server_without_get_streams_says_so_in_its_own_words(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.answer(405, b"no", allow="POST")

    async with upstream_for(refuse) as (upstream, _):
        with pytest.raises(UpstreamAnswered) as caught, listening() as exchange:
            await upstream.listen(exchange)
        assert (caught.value.http_status, (b"allow", b"POST") in caught.value.fields) == (405, True)
