"""What the server sent, as the live client must get it: ids and progress tokens are the live ones, everything else is byte for byte.

In: a frame and what stands live for what is on the tape. Out: a `Message`, an `Event`, header fields, or the error to raise for an answer that was no
message. Pure code.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shadowproxy.errors import UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange, Headers
from shadowproxy.tape.frame import Frame
from shadowproxy.wire.eras import META_PROGRESS, META_SUBSCRIPTION
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw
from shadowproxy.wire.sse import Event

_SUBSCRIPTION: Final = META_SUBSCRIPTION.encode()
_OURS: Final = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "keep-alive", "date", "server", "cache-control",
                          "x-accel-buffering", "mcp-session-id", "vary"})  # fmt: skip
"""Fields of an answer that whoever serves the replay makes itself."""


def message_of(frame: Frame) -> Message:
    """As it stands on the tape, with its event's fields. Raises `BadMessage`."""
    message = Message.decode(bytes(frame.message or b""))
    if frame.sse is not None:
        message.event_id = None if frame.sse.id is None else frame.sse.id.encode()
        message.retry = frame.sse.retry
    return message


def event_of(frame: Frame) -> Event:
    sse = frame.sse
    if sse is None:
        return Event(b"")
    if sse.comment is not None:
        return Event(b"", comment=sse.comment.encode())
    return Event((sse.data or "").encode(), None if sse.id is None else sse.id.encode(), (sse.event or "").encode(), sse.retry)


def fields_of(frame: Frame) -> Headers:
    """The fields of an answer, but for those of its transport."""
    headers = () if frame.http is None else frame.http.headers
    return tuple([(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers if name not in _OURS and not name.startswith("access-control-")])


def refusal_of(frame: Frame) -> UpstreamAnswered | UpstreamBroken:
    """What to raise for an answer in HTTP's own words, or for none at all."""
    status = None if frame.http is None else frame.http.status
    if status is None:
        return UpstreamBroken(f"this request failed when it was recorded: {frame.text or frame.error or 'the tape does not say why'}")
    kind = [(name.encode(), value.encode("latin-1")) for name, value in (frame.http.headers if frame.http else ()) if name == "content-type"]
    if frame.message is not None:
        return UpstreamAnswered(status, ((b"content-type", b"application/json"), *fields_of(frame)), bytes(frame.message))
    return UpstreamAnswered(status, (*kind, *fields_of(frame)), (frame.text or "").encode())


def progress_token(exchange: Exchange) -> Raw | None:
    """What the live client asked to hear of progress by."""
    if not exchange.request.mentions(b"progressToken"):
        return None
    try:
        return exchange.request.meta().get(META_PROGRESS)
    except BadMessage:
        return None


def with_token(message: Message, tokens: Mapping[bytes, Raw | None]) -> Message | None:
    """Progress under the live token. `tokens`: what stands live for a recorded one; None: the live client asked for no progress, and hears of none."""
    params = message.params()
    token = params.get(META_PROGRESS)
    if token is None or bytes(token) not in tokens:
        return message
    live = tokens[bytes(token)]
    if live is None:
        return None
    params[META_PROGRESS] = live
    return message


def with_subscription(message: Message, frame: Frame, recorded: Raw | None, live: Raw | None) -> None:
    """Every message of a subscription has in its `_meta` the id of the request that opened it (2026-07-28, basic/patterns/subscriptions.mdx)."""
    if recorded is None or _SUBSCRIPTION not in bytes(frame.message or b""):
        return
    meta = message.level(message.level(message.members, "result" if message.is_response else "params"), "_meta")
    if bytes(meta.get(META_SUBSCRIPTION, b"")) == bytes(recorded):
        meta[META_SUBSCRIPTION] = live


def with_question(message: Message, renamed: Mapping[bytes, Raw]) -> None:
    """A server that takes a question back means it by its live id."""
    params = message.params()
    live = renamed.get(bytes(params.get("requestId", b"")))
    if live is not None:
        params["requestId"] = live
