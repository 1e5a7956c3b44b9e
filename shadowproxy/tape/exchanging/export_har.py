"""A tape as HAR 1.2, for the network panels of browsers and everything else that reads it. One entry per exchange.

In: a header and frames. Out: bytes of one JSON document, a piece at a time, in the order in which exchanges end. An event stream is the text of its
answer, as it was on the wire. What a tape does not keep is said to be unknown: sizes of heads (-1), addresses, the answer to a notification that
was taken (202). A server on stdio has no URL; its entries stand under http://stdio.invalid/. Held meanwhile: the exchanges that are open.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from shadowproxy.tape.frame import Frame, Header, Http, Sse
from shadowproxy.wire.sse import encode_comment, encode_event

BODY: Final = 8 << 20
"""Bytes of one event stream that are kept; the rest is left out, and the entry says so."""
PENDING: Final = 256
"""Notifications that wait for a refusal; it comes soon or not at all."""
_encode: Final = msgspec.json.encode


class _Entry:
    """One exchange, from its first frame on."""

    def __init__(self, asked: Frame) -> None:
        self.asked = asked
        self.http: Http | None = None
        self.first = self.last = asked.t
        self.parts: list[bytes] = []
        self.size = 0
        self.streamed = self.cut = False
        self.comment = ""

    def take(self, frame: Frame) -> None:
        """A frame of the answer."""
        if self.http is None and not self.parts:
            self.http, self.first = frame.http, frame.t
        self.last = frame.t
        data = _body(frame)
        if frame.stream is not None and frame.kind != "refusal":
            self.streamed = True
            data = _event(frame.sse or Sse(), data) if data or frame.sse is not None else b""
        self.size += len(data)
        if self.size <= BODY or not self.streamed:
            self.parts.append(data)
        else:
            self.cut = True


def har(header: Header, frames: Iterable[Frame], version: str) -> Iterator[bytes]:
    """The document; `version` is this program's."""
    yield b'{"log":{"version":"1.2","creator":' + _encode({"name": "shadowproxy", "version": version}) + b',"entries":['
    comma = b"\n"
    for entry in _entries(frames):
        yield comma + _encode(_told(entry, header))
        comma = b",\n"
    yield b"\n]}}\n"


def _entries(frames: Iterable[Frame]) -> Iterator[_Entry]:
    """Complete ones. An entry's key is its exchange, or less than nothing for a message that belongs to none."""
    entries: dict[int, _Entry] = {}
    waiting: list[int] = []
    for frame in frames:
        if frame.leg == "server" or frame.kind in ("about", "gap", "left"):
            continue
        if frame.dir == "c2s" and frame.kind != "cancelled":
            key = frame.exchange if frame.kind in ("request", "open") and frame.exchange is not None else -frame.n
            entries[key] = _Entry(frame)
            if key < 0:
                waiting.append(key)
            if len(waiting) > PENDING and (oldest := entries.pop(waiting.pop(0), None)) is not None:
                yield oldest
            continue
        if (ended := _answered(entries, frame)) is not None:
            yield ended
    for entry in entries.values():
        if entry.asked.kind in ("request", "open"):
            entry.comment = "the tape ends before it does"
        yield entry


def _answered(entries: dict[int, _Entry], frame: Frame) -> _Entry | None:
    """Give the frame to its entry; the entry, if that ended it."""
    key = frame.exchange if frame.exchange in entries else -(frame.re or 0)
    entry = None if key is None else entries.get(key)
    if entry is None or key is None:
        return None
    if frame.kind == "cancelled":
        entry.last, entry.comment = frame.t, "the client gave up"
    elif frame.kind != "close":
        entry.take(frame)
    else:
        entry.last = frame.t
    ends = frame.kind in ("close", "cancelled", "refusal") or (frame.kind == "response" and frame.re == entry.asked.n)
    return entries.pop(key) if ends else None


def _body(frame: Frame) -> bytes:
    if frame.message is not None:
        return bytes(frame.message)
    if frame.kind == "event":
        return b"" if frame.sse is None or frame.sse.data is None else frame.sse.data.encode()
    return (frame.text or "").encode()


def _event(sse: Sse, data: bytes) -> bytes:
    if sse.comment is not None:
        return encode_comment(sse.comment.encode())
    return encode_event(data, None if sse.id is None else sse.id.encode(), sse.retry, (sse.event or "").encode())


def _told(entry: _Entry, header: Header) -> dict[str, Any]:
    asked = entry.asked
    began = header.origin + asked.t
    wait, receive = _milliseconds(entry.first - asked.t), _milliseconds(entry.last - entry.first)
    comment = "; ".join(filter(None, (asked.method or asked.kind, entry.comment, "its end was left out" if entry.cut else "")))
    told = {
        "startedDateTime": datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds"), "time": _milliseconds(entry.last - asked.t),
        "request": _request(entry, header), "response": _response(entry), "cache": {},
        "timings": {"send": 0, "wait": wait, "receive": receive}, "comment": comment, "_n": asked.n,
    }  # fmt: skip
    extra = {"_exchange": asked.exchange, "_session": asked.session, "_method": asked.method}
    return told | {name: value for name, value in extra.items() if value is not None}


def _request(entry: _Entry, header: Header) -> dict[str, Any]:
    asked = entry.asked
    method = (asked.http.method if asked.http is not None else None) or {"open": "GET", "end": "DELETE"}.get(asked.kind, "POST")
    told: dict[str, Any] = {
        "method": method, "url": _url(header), "httpVersion": "HTTP/1.1", "cookies": [], "headers": _fields(asked.http), "queryString": [],
        "headersSize": -1, "bodySize": 0 if asked.message is None else len(bytes(asked.message)),
    }  # fmt: skip
    if asked.message is not None:
        told["postData"] = {"mimeType": "application/json", "text": bytes(asked.message).decode()}
    return told


def _response(entry: _Entry) -> dict[str, Any]:
    body = b"".join(entry.parts)
    status = _status(entry)
    fields = _fields(entry.http)
    mime = next((field["value"] for field in fields if field["name"] == "content-type"), "text/event-stream" if entry.streamed else "application/json")
    return {
        "status": status, "statusText": HTTPStatus(status).phrase if status in set(HTTPStatus) else "", "httpVersion": "HTTP/1.1", "cookies": [], "headers": fields,
        "content": {"size": entry.size, "mimeType": mime if entry.size else "x-unknown", "text": body.decode("utf-8", "replace")},
        "redirectURL": next((field["value"] for field in fields if field["name"] == "location"), ""), "headersSize": -1, "bodySize": entry.size,
    }  # fmt: skip


def _status(entry: _Entry) -> int:
    """As it was; where the tape does not say, what an answer of that shape has; 0 for none at all."""
    if entry.http is not None and entry.http.status is not None:
        return entry.http.status
    if entry.parts:
        return 200
    return {"notification": 202, "response": 202, "end": 200}.get(entry.asked.kind, 0)


def _url(header: Header) -> str:
    return header.upstream if header.upstream.startswith(("http://", "https://")) else "http://stdio.invalid/"


def _fields(http: Http | None) -> list[dict[str, str]]:
    return [] if http is None else [{"name": name, "value": value} for name, value in http.headers]


def _milliseconds(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)
