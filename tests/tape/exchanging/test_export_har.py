"""HAR 1.2: one entry per exchange, with everything that the format demands; event streams as they were on the wire."""
from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from conversations import conversation
from tapes import HEADER, ORIGIN, notification, request, response

from shadowproxy.tape.exchanging import export_har
from shadowproxy.tape.exchanging.export_har import har
from shadowproxy.tape.frame import Frame, Header
from shadowproxy.wire.sse import SseParser

Json = dict[str, Any]

#: What HAR 1.2 demands of an entry, of its request, its response.
ENTRY = {"startedDateTime", "time", "request", "response", "cache", "timings"}
REQUEST = {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"}
RESPONSE = {"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"}


def exported(frames: Iterable[Frame], header: Header = HEADER) -> list[Json]:
    document = json.loads(b"".join(har(header, frames, "1.2.3")))
    assert set(document) == {"log"}
    assert {key: document["log"][key] for key in ("version", "creator")} == {"version": "1.2", "creator": {"name": "shadowproxy", "version": "1.2.3"}}
    entries: list[Json] = document["log"]["entries"]
    for entry in entries:
        assert set(entry) >= ENTRY
        assert set(entry["request"]) >= REQUEST
        assert set(entry["response"]) >= RESPONSE
        assert entry["time"] == pytest.approx(sum(entry["timings"].values()))
        assert {"size", "mimeType"} <= set(entry["response"]["content"])
    return entries


@pytest.fixture(scope="module")
def by_exchange() -> dict[int, Json]:
    return {entry["_exchange"]: entry for entry in exported(conversation()) if "_exchange" in entry}


def test_one_entry_per_exchange_and_per_message_that_belongs_to_none() -> None:
    entries = exported(conversation())
    assert sorted(entry["_exchange"] for entry in entries if "_exchange" in entry) == list(range(1, 11))
    assert sorted(entry["_n"] for entry in entries if "_exchange" not in entry) == [4, 13, 28]


def test_a_json_answer(by_exchange: dict[int, Json]) -> None:
    entry = by_exchange[2]
    assert datetime.fromisoformat(entry["startedDateTime"]).timestamp() == ORIGIN + 0.5
    assert (entry["time"], entry["timings"]) == (100.0, {"send": 0, "wait": 100.0, "receive": 0.0})
    assert (entry["request"]["method"], entry["request"]["url"]) == ("POST", "https://server.example/mcp")
    assert {"name": "accept", "value": "application/json, text/event-stream"} in entry["request"]["headers"]
    assert json.loads(entry["request"]["postData"]["text"])["method"] == "tools/list"
    assert (entry["response"]["status"], entry["response"]["statusText"]) == (200, "OK")
    assert entry["response"]["content"]["mimeType"] == "application/json"
    assert json.loads(entry["response"]["content"]["text"])["result"]["tools"][0]["name"] == "slow"
    assert entry["_session"] == "s1"


def test_an_event_stream_reads_as_the_client_read_it(by_exchange: dict[int, Json]) -> None:
    entry = by_exchange[3]
    assert entry["response"]["content"]["mimeType"] == "text/event-stream"
    events = SseParser(1 << 20).feed(entry["response"]["content"]["text"].encode())
    assert [event.id for event in events] == [b"e0", b"e1", b"e2", b"e3"]
    assert events[0].retry == 500
    assert [json.loads(event.data).get("method") for event in events[1:]] == ["notifications/progress", "elicitation/create", None]
    assert entry["timings"] == {"send": 0, "wait": 200.0, "receive": 500.0}


def test_a_get_stream(by_exchange: dict[int, Json]) -> None:
    entry = by_exchange[4]
    assert entry["request"]["method"] == "GET"
    assert "postData" not in entry["request"]
    assert "notifications/tools/list_changed" in entry["response"]["content"]["text"]


def test_what_went_wrong(by_exchange: dict[int, Json]) -> None:
    assert by_exchange[6]["response"]["status"] == 404
    refused = by_exchange[7]["response"]
    assert (refused["status"], refused["content"]["text"], refused["headers"]) == (401, "who are you?", [{"name": "www-authenticate", "value": "Bearer"}])
    assert (by_exchange[8]["response"]["status"], by_exchange[8]["comment"]) == (0, "tools/call; the client gave up")
    assert (by_exchange[10]["response"]["status"], by_exchange[10]["comment"]) == (0, "tools/call; the tape ends before it does")


def test_messages_without_an_exchange() -> None:
    entries = {entry["_n"]: entry for entry in exported(conversation())}
    assert [entries[n]["response"]["status"] for n in (4, 13, 28)] == [202, 202, 200]
    assert entries[28]["request"]["method"] == "DELETE"


def test_a_notification_that_was_refused() -> None:
    from tapes import happening

    from shadowproxy.tape.frame import Http

    frames = [notification(1, "notifications/x", dir="c2s"), happening(2, "refusal", re=1, http=Http(None, 404), error="session_unknown", text="no such session")]
    (entry,) = exported(frames)
    assert (entry["response"]["status"], entry["response"]["content"]["text"]) == (404, "no such session")


def test_many_notifications_do_not_pile_up() -> None:
    """They come out as they go in, but for the last few."""
    told = list(har(HEADER, (notification(n, "notifications/x", dir="c2s") for n in range(1, 2001)), "1"))
    assert len(told) == 2002
    ahead = 0

    def counted() -> Iterable[Frame]:
        nonlocal ahead
        for n in range(1, 2001):
            ahead += 1
            yield notification(n, "notifications/x", dir="c2s")

    for _ in har(HEADER, counted(), "1"):
        ahead -= 1
        assert ahead <= export_har.PENDING + 1


def test_a_stream_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_har, "BODY", 1000)
    noise = [notification(n, "notifications/message", {"data": "x" * 100}, exchange=1, stream="x1") for n in range(2, 100)]
    (entry,) = exported([request(1, "tools/call"), *noise, response(100, 1, stream="x1")])
    assert len(entry["response"]["content"]["text"]) <= 1000
    assert entry["response"]["content"]["size"] > 10_000
    assert "left out" in entry["comment"]


def test_stdio_has_no_url_and_the_servers_leg_is_left_out() -> None:
    import msgspec

    frames = [request(1, "ping", leg="client"), request(2, "ping", exchange=1, leg="server"), response(3, 2, exchange=1, leg="server"), response(4, 1, leg="client")]
    (entry,) = exported(frames, msgspec.structs.replace(HEADER, upstream="my-server"))
    assert (entry["request"]["url"], entry["_n"], entry["time"]) == ("http://stdio.invalid/", 1, 300.0)
