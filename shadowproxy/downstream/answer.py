"""Writing answers: a JSON body, an event stream, a refusal.

In: messages and errors. Out: ASGI events. Owns nothing; every function here is called by the task that owns the exchange.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from shadowproxy.errors import ProxyError, UpstreamTimeout
from shadowproxy.exchange import Exchange, Headers
from shadowproxy.wire.jsonrpc import Message, Raw, error_reply
from shadowproxy.wire.sse import Event, encode_comment, encode_event

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")
#: `no-transform` and `x-accel-buffering` keep intermediaries from holding events back (2026-07-28, basic/transports/streamable-http.mdx).
SSE: Final = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))
_END: Final = {"type": "http.response.body", "body": b""}


async def send_json(send: Send, status: int, message: Message, extra: Headers = ()) -> None:
    await send_body(send, status, message.encode(), (JSON, *extra))


async def send_as_event(send: Send, status: int, message: Message, extra: Headers = ()) -> None:
    """A whole stream in one write."""
    await send_body(send, status, encode_event(message.encode(), message.event_id, message.retry), (*SSE, *extra))


async def send_body(send: Send, status: int, body: bytes, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": (*headers, (b"content-length", b"%d" % len(body)))})
    await send({"type": "http.response.body", "body": body})


async def start_events(send: Send, extra: Headers = ()) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": (*SSE, *extra)})


async def flush(send: Send, body: bytes = b"") -> None:
    """Let the client see the head (and a comment) although no event is there yet."""
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def send_event(send: Send, item: Message | Event, *, last: bool = False) -> None:
    """One event; with `last` the stream's end too, in the same write."""
    if isinstance(item, Message):
        data = encode_event(item.encode(), item.event_id, item.retry)
    elif item.comment is not None:
        data = encode_comment(item.comment)
    else:
        data = encode_event(item.data, item.id, item.retry, item.event)
    await send({"type": "http.response.body", "body": data, "more_body": not last})


async def end_events(send: Send) -> None:
    await send(_END)


async def refuse(send: Send, error: ProxyError, id: Raw | None, extra: Headers = ()) -> None:
    """Answer with `error`, as HTTP status and as JSON-RPC error."""
    await send_json(send, error.http_status, error_message(error, id), (*error.headers(), *extra))


def error_message(error: ProxyError, id: Raw | None) -> Message:
    return error_reply(id, error.rpc_code, error.message, error.payload())


def too_late(seconds: float) -> UpstreamTimeout:
    return UpstreamTimeout(f"no answer from the upstream within the request's deadline of {seconds:g} s (timeouts.request, --request-timeout)")


def extra_of(exchange: Exchange) -> Headers:
    """The reply headers of an exchange; its session's id when it has just begun."""
    session = exchange.session
    if session is not None and session.id is not None and exchange.request.method == "initialize":
        return (*exchange.reply_headers, (b"mcp-session-id", session.id))
    return exchange.reply_headers


def end_of_subscription(exchange: Exchange) -> Message:
    """The graceful end: an empty result for the listen request (2026-07-28, basic/patterns/subscriptions.mdx)."""
    meta = {"io.modelcontextprotocol/subscriptionId": exchange.id}
    return Message({"jsonrpc": "2.0", "id": exchange.id, "result": {"resultType": "complete", "_meta": meta}}, None)
