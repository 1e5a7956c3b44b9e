"""What the server sent, as the live client must get it: ids and progress tokens are the live ones, everything else is byte for byte.

In: a frame and what stands live for what is on the tape. Out: a `Message`, an `Event`, header fields, or the error to raise for an answer that was no
message. Pure code.
"""
from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

import msgspec

from shadowproxy.errors import ProxyError, UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange, Headers
from shadowproxy.tape.frame import Frame
from shadowproxy.wire.eras import META_PROGRESS, META_SUBSCRIPTION
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw
from shadowproxy.wire.sse import Event

_SUBSCRIPTION: Final = META_SUBSCRIPTION.encode()
_TRANSPORT: Final = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "date", "server", "mcp-session-id", "vary"})
_OURS: Final = _TRANSPORT | {"content-type", "cache-control", "x-accel-buffering"}
"""Fields of an answer that whoever serves the replay makes itself."""
_NAMED: Final = {kind.name: kind for kind in ProxyError.__subclasses__()}


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
    return _fields(frame, _OURS)


def _fields(frame: Frame, without: Container[str]) -> Headers:
    headers = () if frame.http is None else frame.http.headers
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers if name not in without and not name.startswith("access-control-"))


class Refused(ProxyError):
    """What the proxy that recorded this said in its own words, said again: the same name, code, text, data and status."""

    def __init__(self, frame: Frame, error: Mapping[str, Any]) -> None:
        kind = _NAMED.get(frame.error or "", ProxyError)
        status = kind.status if frame.http is None or frame.http.status is None else frame.http.status
        data, code = error.get("data"), error.get("code")
        super().__init__(str(error.get("message", "")), data if isinstance(data, dict) else None, status=status, code=code if isinstance(code, int) else kind.code)
        self.name = frame.error or kind.name  # type: ignore[misc]  # that of a class, elsewhere
        self._fields = _fields(frame, _OURS)

    def headers(self) -> Headers:
        return self._fields

    def payload(self) -> dict[str, object]:
        return dict(self.data or {})


def _error(frame: Frame) -> Mapping[str, Any] | None:
    try:
        message = frame.value()
    except (msgspec.MsgspecError, RecursionError):
        return None
    error = message.get("error") if isinstance(message, dict) else None
    return error if isinstance(error, dict) else None


def refusal_of(frame: Frame) -> ProxyError:
    """What to raise for an answer in HTTP's own words, or in those of a proxy."""
    status, error = None if frame.http is None else frame.http.status, _error(frame)
    if error is not None:
        return Refused(frame, error)
    if status is None:
        return UpstreamBroken(f"this request failed when it was recorded: {frame.text or frame.error or 'the tape does not say why'}")
    return UpstreamAnswered(status, _fields(frame, _TRANSPORT), (frame.text or "").encode())


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
