"""A recorded message as the live client gets it."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest
from dialogue import legacy, plain
from tapes import happening, notification, raw, response

from shadowproxy.errors import UpstreamAnswered, UpstreamBroken
from shadowproxy.tape.frame import Http, Sse
from shadowproxy.tape.replaying.translation import (
    event_of,
    fields_of,
    message_of,
    progress_token,
    refusal_of,
    with_question,
    with_subscription,
    with_token,
)
from shadowproxy.wire.jsonrpc import Raw
from shadowproxy.wire.sse import Event

KEY = "io.modelcontextprotocol/subscriptionId"


def test_the_fields_of_its_event_come_along() -> None:
    message = message_of(msgspec.structs.replace(response(2, 1), sse=Sse("e1", None, 3)))
    assert (message.event_id, message.retry) == (b"e1", 3)


@pytest.mark.parametrize(("sse", "event"), [
    (None, Event(b"")), (Sse("e", "ping", 5, "data"), Event(b"data", b"e", b"ping", 5)), (Sse(None, None, 5), Event(b"", None, b"", 5)),
])  # fmt: skip
def test_events(sse: Sse | None, event: Event) -> None:
    assert event_of(happening(1, "event", sse=sse)) == event


def test_fields_of_the_transport_are_not_repeated() -> None:
    http = Http(None, 200, (("content-type", "a"), ("mcp-session-id", "b"), ("access-control-allow-origin", "*"), ("date", "c"), ("www-authenticate", "d")))
    assert fields_of(happening(1, "event", http=http)) == ((b"www-authenticate", b"d"),)
    assert fields_of(happening(1, "event")) == ()


def test_refusals() -> None:
    words = refusal_of(happening(1, "refusal", http=Http(None, 404, (("content-type", "text/plain"), ("retry-after", "1"))), text="gone"))
    assert isinstance(words, UpstreamAnswered)
    assert (words.http_status, words.fields, words.body) == (404, ((b"content-type", b"text/plain"), (b"retry-after", b"1")), b"gone")
    ours = refusal_of(happening(1, "refusal", http=Http(None, 503), error="overloaded", message=raw({"error": {"code": 1101, "message": "later", "data": {"name": "overloaded"}}})))
    assert (ours.name, ours.http_status, ours.rpc_code, ours.message, ours.payload()) == ("overloaded", 503, 1101, "later", {"name": "overloaded"})
    odd = refusal_of(happening(1, "refusal", error="strange", message=raw({"error": {"code": "x", "data": [1]}})))
    assert (odd.name, odd.http_status, odd.rpc_code, odd.message, odd.payload()) == ("strange", 502, 1000, "", {})
    none = refusal_of(happening(1, "refusal", http=Http(None, 404), message=raw({"error": 1})))
    assert isinstance(none, UpstreamAnswered)
    assert none.http_status == 404
    for frame in (happening(1, "refusal", text="a bug"), happening(1, "refusal", error="a bug")):
        assert isinstance(error := refusal_of(frame), UpstreamBroken)
        assert "a bug" in str(error)


@pytest.mark.parametrize(("params", "token"), [({"_meta": {"progressToken": "x"}}, b'"x"'), ({"_meta": {"progressToken": 1}}, b"1"), ({}, None), (None, None),
                                               ({"_meta": 5, "progressToken": 1}, None)])  # fmt: skip
def test_the_token_that_the_client_asks_with(params: Any, token: bytes | None) -> None:
    found = progress_token(legacy("m", params))
    assert (None if found is None else bytes(found)) == token


def test_progress() -> None:
    def told(tokens: dict[bytes, Raw | None]) -> Any:
        found = with_token(message_of(notification(1, "notifications/progress", {"progressToken": "t", "progress": 1})), tokens)
        return None if found is None else plain(found)["params"]

    assert told({b'"t"': Raw(b"7")}) == {"progressToken": 7, "progress": 1}
    assert told({b'"t"': None}) is None
    assert told({b'"other"': None}) == {"progressToken": "t", "progress": 1}


def test_subscriptions_by_their_live_id_and_no_others() -> None:
    for made, level in ((notification(1, "n", {"_meta": {KEY: 4}}), "params"), (response(1, 1, result={"_meta": {KEY: 4}}), "result")):
        for recorded, expected in ((4, "live"), (5, 4)):
            message = message_of(made)
            with_subscription(message, made, raw(recorded), raw("live"))
            assert plain(message)[level]["_meta"] == {KEY: expected}


def test_a_question_is_taken_back_by_its_live_id() -> None:
    for renamed, expected in (({b"7": Raw(b'"tape-1"')}, "tape-1"), ({}, 7)):
        message = message_of(notification(1, "notifications/cancelled", {"requestId": 7}))
        with_question(message, renamed)
        assert plain(message)["params"] == {"requestId": expected}
