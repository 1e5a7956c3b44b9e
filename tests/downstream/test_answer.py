"""Writing answers: what goes out as ASGI events, byte for byte."""
from __future__ import annotations

from typing import Any

import pytest
from dialogue import legacy, message, modern, plain

from shadowproxy.downstream import answer
from shadowproxy.errors import Overloaded, ProxyError, SpecError, UpstreamExited
from shadowproxy.exchange import Exchange, Session
from shadowproxy.wire.jsonrpc import Raw
from shadowproxy.wire.sse import Event


class Sent:
    """An ASGI `send` that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def __call__(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.events if event["type"] == "http.response.body")

    @property
    def fields(self) -> dict[bytes, bytes]:
        return dict(self.events[0]["headers"])


async def test_a_message_goes_out_as_it_came() -> None:
    sent = Sent()
    await answer.send_json(sent, 200, message(id="x", result={"b": 1.50, "a": "\u00fc"}), ((b"x-extra", b"1"),))
    assert sent.events[0]["status"] == 200
    assert sent.fields == {b"content-type": b"application/json", b"x-extra": b"1", b"content-length": b"%d" % len(sent.body)}
    assert sent.body == b'{"jsonrpc":"2.0","id":"x","result":{"b": 1.5, "a": "\\u00fc"}}'
    assert not sent.events[-1].get("more_body", False)


async def test_an_event_stream_begins_with_fields_that_keep_intermediaries_from_holding_it_back() -> None:
    sent = Sent()
    await answer.start_events(sent, ((b"mcp-session-id", b"s"),))
    assert sent.events[0]["status"] == 200
    assert sent.fields == {b"content-type": b"text/event-stream", b"cache-control": b"no-cache, no-transform", b"x-accel-buffering": b"no", b"mcp-session-id": b"s"}
    await answer.flush(sent)
    assert sent.events[1] == {"type": "http.response.body", "body": b"", "more_body": True}
    await answer.end_events(sent)
    assert not sent.events[-1].get("more_body", False)


async def test_event_ids_and_retry_times_survive() -> None:
    sent = Sent()
    one = message(id=1, result={})
    one.event_id, one.retry = b"7", 500
    for item in (one, Event(b"", b"8"), Event(b"", None, b"", 250), message(method="notifications/x")):
        await answer.send_event(sent, item)
    assert [event["body"] for event in sent.events] == [
        b'event: message\nid: 7\nretry: 500\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n',
        b"id: 8\ndata: \n\n",
        b"retry: 250\n\n",
        b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/x"}\n\n',
    ]
    assert all(event["more_body"] for event in sent.events)


@pytest.mark.parametrize(("error", "status", "fields", "members"), [
    (Overloaded("full"), 503, {b"retry-after": b"1"}, {"code": 1101, "message": "full", "data": {"name": "overloaded"}}),
    (UpstreamExited("gone", {"status": 3}), 502, {}, {"code": 1002, "message": "gone", "data": {"name": "upstream_exited", "status": 3}}),
    (SpecError(400, -32600, "no"), 400, {}, {"code": -32600, "message": "no"}),
], ids=["with a header", "with data", "of the specification"])  # fmt: skip
async def test_a_refusal_says_the_same_in_http_and_in_json_rpc(error: ProxyError, status: int, fields: dict[bytes, bytes], members: dict[str, Any]) -> None:
    sent = Sent()
    await answer.refuse(sent, error, Raw(b'"a"'), ((b"allow", b"POST"),))
    assert sent.events[0]["status"] == status
    assert {name: sent.fields[name] for name in (*fields, b"allow", b"content-type")} == {**fields, b"allow": b"POST", b"content-type": b"application/json"}
    assert plain(answer.error_message(error, Raw(b'"a"'))) == {"jsonrpc": "2.0", "id": "a", "error": members}


@pytest.mark.parametrize("id", [b"1", b'"1"', b"-7", b'"\\u00e9"', b"9007199254740993"])
def test_the_id_of_an_error_is_that_of_the_request_byte_for_byte(id: bytes) -> None:
    assert b'"id":%b,' % id in answer.error_message(Overloaded("full"), Raw(id)).encode()


def test_an_error_to_nobody_in_particular_has_a_null_id() -> None:
    assert plain(answer.error_message(Overloaded("full"), None))["id"] is None


@pytest.mark.parametrize(("exchange", "told"), [
    (legacy("initialize", session=Session(b"new")), True),
    (legacy("initialize", session=Session(None)), False),
    (legacy("initialize"), False),
    (legacy("tools/list", session=Session(b"old")), False),
    (modern("tools/list"), False),
], ids=["a new session", "the upstream keeps none", "no session", "later", "modern"])  # fmt: skip
def test_the_session_id_is_told_with_the_answer_to_initialize(exchange: Exchange, told: bool) -> None:
    exchange.reply_headers = ((b"x-upstream", b"1"),)
    assert answer.extra_of(exchange) == ((b"x-upstream", b"1"), *(((b"mcp-session-id", b"new"),) if told else ()))
