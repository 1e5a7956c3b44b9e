"""What is fuzzed: functions that take bytes, and places to cut them at, and raise when a promise is broken.

The promises: nothing but the documented errors comes out; the cut of the bytes makes no difference; what was accepted reads the same for a reader that
is none of ours (`json`, `h11`, or the few lines of a plain one). Each is for Hypothesis (`test_fuzz.py`), for the long form (`fuzz.py`), and for atheris.
"""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import h11
import trio
import trio.testing
from asgi_apps import Recorder
from cancelling import virtually
from hostile.failures import failures
from hostile.http2 import http2
from hostile.memory_client import open_raw
from wires import open_wire

from shadowproxy.config import Limits
from shadowproxy.connection import StreamConnection
from shadowproxy.errors import ProxyError
from shadowproxy.upstream.events import EventReplies
from shadowproxy.upstream.http1 import HttpClient
from shadowproxy.wire.eras import era_of
from shadowproxy.wire.jsonrpc import BadMessage, Message, decode_batch, is_batch, key_of
from shadowproxy.wire.lines import LineParser
from shadowproxy.wire.mcp_http import decode_value, encode_value, request_headers, verdict
from shadowproxy.wire.sse import Event, SseParser, TooLarge, encode_comment, encode_event
from shadowproxy.wire.tool_headers import param_headers, param_verdict, tool_rules

Target: TypeAlias = Callable[[bytes, Sequence[int]], None]
LIMITS = Limits(head=2000, headers=20, body=2000)
PARSER_LIMIT = 1000
RULES = tool_rules({"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "n": {"type": "integer", "x-mcp-header": "N"},
                                   "o": {"type": "object", "properties": {"b": {"type": "boolean", "x-mcp-header": "B"}}}}})  # fmt: skip


def pieces(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """The data, cut at these places (taken modulo its length); no piece is empty."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    yield from (data[start:end] for start, end in pairwise(places))


# ---------------------------------------------------- HTTP, towards clients
def http_server(data: bytes, cuts: Sequence[int]) -> None:
    """An application that reads every request to its end sees the same requests however they were cut, and h11 sees no other ones."""
    whole = virtually(lambda: _served([data] if data else []))
    assert virtually(lambda: _served(list(pieces(data, cuts)))) == whole
    for (method, target, body), (other_method, other_target, other_body) in zip(whole[0], _as_h11_reads(data), strict=False):
        assert (method, target, body) == (other_method, other_target, other_body), "two readers, two requests"


async def _served(parts: list[bytes]) -> tuple[list[tuple[str, str, bytes]], list[int], bool]:
    app = Recorder()
    with failures() as found:
        async with open_wire(app, LIMITS) as wire, open_raw(wire.connect) as raw:
            for part in parts:
                await raw.send(part)
                await raw.settle()
            raw.client.half_close()
            await raw.settle()
            await wire.server.drained()
            await raw.settle()
            methods = [seen.method for seen in app.seen] or ["GET"]
            statuses = [answer.status for answer in raw.answers([*methods, "GET"]) if answer.status != 100]
            assert raw.data == b"", raw.data[:100]
    assert not found, found[0].getMessage()
    return [(seen.method, seen.path, seen.body) for seen in app.seen], statuses, raw.closed


def _as_h11_reads(data: bytes) -> list[tuple[str, str, bytes]]:
    """The requests in it, up to the first that h11 refuses; those whose target is not plain are left to ours."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=4000)
    found: list[tuple[str, str, bytes]] = []
    head, body = None, b""
    try:
        reader.receive_data(data)
        while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                target = head.target.decode("latin-1")
                if not target.startswith("/") or "%" in target:
                    return found
                found.append((head.method.decode(), target.partition("?")[0], body))
                if reader.their_state is not h11.DONE:
                    return found
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE:
                    return found
                reader.start_next_cycle()
            else:
                return found
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass
    return found


# ---------------------------------------------------- HTTP, towards servers
def http_client(data: bytes, cuts: Sequence[int]) -> None:
    """An answer is the same, and so is its failure, however it was cut."""
    whole = virtually(lambda: _answered([data] if data else []))
    assert virtually(lambda: _answered(list(pieces(data, cuts)))) == whole


async def _answered(parts: list[bytes]) -> Any:
    ours, theirs = trio.testing.memory_stream_pair()
    client = HttpClient(StreamConnection(ours, 30), PARSER_LIMIT)

    async def send() -> None:
        for part in parts:
            await theirs.send_all(part)
            await trio.testing.wait_all_tasks_blocked()
        await theirs.send_stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        got: list[Any] = []
        try:
            await client.request(b"POST / HTTP/1.1\r\n\r\n")
            got += [client.status, sorted(client.headers)]
            if client.known.get(b"content-type", b"").startswith(b"text/event-stream"):
                async for item in EventReplies(client, PARSER_LIMIT, lambda message: message):
                    got.append(item.encode() if isinstance(item, Message) else item)
            else:
                got.append(await client.body())
        except ProxyError as error:
            got = [*[item for item in got[2:] if client.streaming], type(error)]
        nursery.cancel_scope.cancel(reason="the answer is complete, or lost")
    client.abort()
    return got


# ---------------------------------------------------- JSON-RPC
def json_rpc(data: bytes, cuts: Sequence[int]) -> None:
    """What is accepted is JSON to another reader as well, with the same members; everything that looks into it fails in the documented way only."""
    try:
        messages = decode_batch(data) if is_batch(data) else [Message.decode(data)]
    except BadMessage:
        return
    try:
        read = json.loads(data)
        _plain(read)
    except RecursionError:
        return  # too deep for the other reader
    for message, other in zip(messages, read if isinstance(read, list) else [read], strict=True):
        _same(message, other)


def _same(message: Message, other: Any) -> None:
    assert _plain(json.loads(message.encode())) == _plain(other)
    line = message.line()
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and b"\r" not in line  # noqa: PT018 -- one promise
    assert _plain(json.loads(Message.decode(line).encode())) == _plain(other)
    if message.id is not None:
        try:
            key = key_of(message.id)
            assert json.loads(key) == other["id"]
            assert type(other["id"]) in (int, str)
        except BadMessage:
            assert type(other["id"]) not in (int, str) or len(bytes(message.id)) > 1024
    for look in (message.params, message.meta, message.result):
        try:
            look()
        except BadMessage:
            pass
    try:
        params = message.params()
        era_of(params, b"2026-07-28")
        headers = request_headers(message.method or "", params)
        fault = verdict(message.method or "", params, headers)
        again = verdict(message.method or "", message.params(), headers)
        assert (fault is None) == (again is None)
        param_verdict(RULES, params.get("arguments"), param_headers(RULES, params.get("arguments")))
    except (BadMessage, UnicodeEncodeError):
        pass
    assert _plain(json.loads(message.encode())) == _plain(other), "to look changes nothing"


def _plain(value: Any) -> Any:
    """Comparable: numbers that are none equal one another."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


# ---------------------------------------------------- events
def event_stream(data: bytes, cuts: Sequence[int]) -> None:
    """The same events for any cut; what is written again reads the same."""
    whole = _events([data])
    assert _events(list(pieces(data, cuts))) == whole
    for event in whole[0]:
        if event.comment is not None:
            assert _events([encode_comment(event.comment)], 1 << 20)[0] == [event]
        elif event.data or event.id is not None:
            (again,) = _events([encode_event(event.data, event.id, event.retry, event.event or b"message")], 1 << 20)[0]
            assert (again.data, again.id, again.retry) == (event.data.replace(b"\r", b"\n"), event.id, event.retry)


def _events(parts: list[bytes], limit: int = PARSER_LIMIT) -> tuple[list[Event], bool]:
    parser, found = SseParser(limit), []
    for part in parts:
        try:
            found += parser.feed(part)
        except TooLarge as error:
            return [*found, *error.events], True
    return found, False


# ---------------------------------------------------- lines
def lines(data: bytes, cuts: Sequence[int]) -> None:
    """The same lines for any cut, and for a plain reader."""
    whole = _lines([data])
    assert _lines(list(pieces(data, cuts))) == whole
    *complete, rest = data.split(b"\n")
    assert whole[0] == [line.removesuffix(b"\r") for line in complete if len(line) <= PARSER_LIMIT and line and not line.isspace()]
    assert whole[1] == sum(len(line) > PARSER_LIMIT for line in [*complete, rest])


def _lines(parts: list[bytes]) -> tuple[list[bytes], int, bytes]:
    parser, found = LineParser(PARSER_LIMIT), []
    for part in parts:
        found += parser.feed(part)
    return found, parser.too_long, parser.flush()


# ---------------------------------------------------- header values
def header_values(data: bytes, cuts: Sequence[int]) -> None:
    """A value that was encoded comes back; any other is text or refused."""
    value = decode_value(data)
    assert value is None or isinstance(value, str)
    text = data.decode("utf-8", "replace")
    encoded = encode_value(text)
    assert decode_value(encoded) == text
    assert not set(encoded) & set(b"\r\n\0")


TARGETS: dict[str, Target] = {"http_server": http_server, "http2": http2, "http_client": http_client, "json_rpc": json_rpc, "event_stream": event_stream, "lines": lines, "header_values": header_values}
