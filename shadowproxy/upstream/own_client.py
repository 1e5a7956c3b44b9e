"""An HTTP client's own duties, for exchanges that came over stdio and so bring no HTTP fields.

In: an exchange without headers. Out: the fields it needs (2026-07-28, basic/transports/streamable-http.mdx, "Request Metadata"), the
streams it reads to the end across disconnections (2025-11-25, basic/transports.mdx, "Resumability and Redelivery"), tools with invalid
header annotations dropped from `tools/list`. Owns no task: a reconnection happens in the task that pulls.
"""
from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec
import trio

from shadowproxy.errors import UpstreamAnswered, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import NOTHING, Exchange, Headers, Replies, Reply, Session
from shadowproxy.upstream.events import EventReplies
from shadowproxy.wire.eras import HEADER_MISMATCH
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, encode, error_code, key_of, text_of
from shadowproxy.wire.mcp_http import request_headers
from shadowproxy.wire.sse import Event
from shadowproxy.wire.tool_headers import InvalidTool, Rules, param_headers, tool_rules

log = logging.getLogger("shadowproxy")

_POST: Final = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))
_GET: Final = ((b"accept", b"text/event-stream"),)
# Reconnection: full jitter, doubled from BASE up to CAP; the server's `retry` is the floor; an event, not a connection, resets it.
BASE, CAP, PATIENCE = 0.2, 30.0, 300.0
PAGES: Final = 50
"""Pages of `tools/list` that are read to learn the header rules of a tool."""


def fields(exchange: Exchange) -> Headers:
    """The fields of a POST."""
    request = exchange.request
    if exchange.era == "modern":
        return (*_POST, *request_headers(request.method or "", request.params()))
    return (*_POST, *_legacy(exchange))


def _legacy(exchange: Exchange) -> Headers:
    session = exchange.session
    if session is None or session.version is None or exchange.request.method == "initialize":
        return ()
    return ((b"mcp-protocol-version", session.version.encode()),)


class Tools:
    """The header rules of the tools that the server has listed, by tool name."""

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}

    def forget(self) -> None:
        """The server says that its tools have changed: what it wants for a call is learnt anew when it refuses one."""
        self._rules.clear()

    def fields(self, request: Message) -> Headers:
        params = request.params()
        rules = self._rules.get(text_of(params.get("name", b"")) or "")
        return param_headers(rules, params.get("arguments")) if rules else ()

    def learn(self, reply: Message) -> None:
        """Note the rules of the tools in this `tools/list` reply, and drop those whose annotations are invalid (a MUST for HTTP clients)."""
        try:
            result = reply.result()
            tools = msgspec.json.decode(result["tools"], type=list[Raw])
        except (BadMessage, KeyError, msgspec.MsgspecError, RecursionError):
            return
        kept = [tool for tool in tools if self._note(tool)]
        if len(kept) != len(tools):
            result["tools"] = Raw(encode(kept))

    def _note(self, raw: Raw) -> bool:
        try:
            tool: Any = msgspec.json.decode(raw)
            self._rules[str(tool["name"])] = tool_rules(tool.get("inputSchema"))
        except InvalidTool as error:
            log.warning("tool dropped: its x-mcp-header annotation is invalid", extra={"reason": str(error)})
            return False
        except (msgspec.MsgspecError, RecursionError, KeyError, TypeError, AttributeError):
            return True  # not ours to judge
        return True


async def call(upstream: Poster, exchange: Exchange) -> Reply:
    """POST with fields of our own, and see the answer through."""
    if exchange.era == "legacy":
        reply = await upstream.post(exchange, fields(exchange), upstream.unsent.note(exchange))
        return Followed(upstream, _holder(exchange), reply) if isinstance(reply, EventReplies) else reply
    if exchange.request.method == "tools/call":
        return await _call_tool(upstream, exchange)
    reply = await upstream.post(exchange, fields(exchange))
    if exchange.request.method == "tools/list":
        return await _learned(upstream, reply)
    return reply if isinstance(reply, Message) else Heeded(upstream.tools, reply)


class Poster(Protocol):
    """What sends for us (`http.py`), and what is known of its server."""

    tools: Tools
    unsent: Unsent

    async def post(self, exchange: Exchange, headers: Headers, sending: Callable[[], None] | None = None) -> Reply: ...
    async def get(self, exchange: Exchange, headers: Headers, restore: Callable[[Message], Message] = ...) -> EventReplies: ...


class Heeded:
    """The messages of a modern stream, as they come; a change of the tools that one tells of is heeded here too."""

    def __init__(self, tools: Tools, replies: Replies) -> None:
        self._tools, self._replies = tools, replies

    def __aiter__(self) -> Heeded:
        return self

    async def __anext__(self) -> Message | Event:
        item = await self._replies.__anext__()
        if isinstance(item, Message) and item.method == "notifications/tools/list_changed":
            self._tools.forget()
        return item


async def _call_tool(upstream: Poster, exchange: Exchange) -> Reply:
    """Mirror in headers what the tool is known to want; if the server knows better, learn that and try once more."""
    request = exchange.request
    attempt = Exchange(request, exchange.era, exchange.session)  # gives its connection back before another is asked for
    exchange.on_leave(attempt.leave)
    extra = upstream.tools.fields(request)
    reply = await upstream.post(attempt, (*fields(exchange), *extra))
    exchange.status, exchange.reply_headers = attempt.status, attempt.reply_headers
    if isinstance(reply, Message) and error_code(reply) == HEADER_MISMATCH:
        attempt.leave()
        await _learn_all(upstream, exchange)
        newer = upstream.tools.fields(request)
        if list(newer) != list(extra):
            reply = await upstream.post(exchange, (*fields(exchange), *newer))
    return reply


async def _learned(upstream: Poster, reply: Reply) -> Reply:
    """A list is read to its end before it is passed on; what a server says before it, is dropped (nothing may be: it asked for no progress)."""
    if not isinstance(reply, Message):
        async for item in reply:
            if isinstance(item, Message) and item.is_response:
                reply = item
                break
        else:
            raise UpstreamBroken("the upstream's stream ended without a response")
    upstream.tools.learn(reply)
    return reply


async def _learn_all(upstream: Poster, exchange: Exchange) -> None:
    """The server wants `Mcp-Param-*` for a tool that was never listed: list them all."""
    cursor: Raw | None = None
    for _ in range(PAGES):
        params: dict[str, object] = {"_meta": exchange.request.meta()}
        if cursor is not None:
            params["cursor"] = cursor
        ask = Message.decode(encode({"jsonrpc": "2.0", "id": "shadowproxy-tools", "method": "tools/list", "params": params}))
        with Exchange(ask, "modern") as listing:
            reply = await _learned(upstream, await upstream.post(listing, fields(listing)))
            cursor = reply.result().get("nextCursor") if isinstance(reply, Message) else None
        if cursor is None:
            return


class Unsent:
    """The legacy requests that wait for a connection still. Notifications have connections of their own, and the cancellation of such a request
    would overtake it: the server could make nothing of it, and would then work on what nobody waits for."""

    def __init__(self) -> None:
        self._waiting: set[tuple[Session | None, bytes]] = set()

    def note(self, exchange: Exchange) -> Callable[[], None]:
        """To be called once it is on its way; it is forgotten in any case when the exchange is left."""
        key = exchange.session, key_of(exchange.request.members["id"])
        self._waiting.add(key)
        exchange.on_leave(self._waiting.discard, key)
        return partial(self._waiting.discard, key)

    def holds(self, notification: Exchange) -> bool:
        """Whether it cancels one of these, so that the server need not hear of either."""
        if notification.request.method != "notifications/cancelled":
            return False
        id = notification.request.params().get("requestId")
        return isinstance(id, Raw) and (notification.session, key_of(id)) in self._waiting


class Backoff:
    """How long to wait before the next reconnection."""

    def __init__(self) -> None:
        self._tries = 0
        self.floor = 0.0

    def reset(self) -> None:
        self._tries = 0

    def next(self) -> float:
        self._tries += 1
        if self.floor and self._tries == 1:
            return self.floor  # the server said when
        return self.floor + random.uniform(0, min(CAP, BASE * 2.0 ** min(self._tries, 30)))


class Followed:
    """The messages of a legacy stream, through as many connections as the server wants (polling and broken streams alike).

    A request's stream ends with its response, or with its connection if no event of it had an id; a standing one is opened anew whenever it ends.
    """

    def __init__(self, upstream: Poster, holder: Exchange, first: EventReplies) -> None:
        self._upstream, self._holder, self._replies, self._restore = upstream, holder, first, first.restore
        self._backoff = Backoff()
        self._last_id: bytes | None = None
        self._answered = False
        self._standing = not first.awaits_response

    def __aiter__(self) -> Followed:
        return self

    async def __anext__(self) -> Message | Event:
        while not self._answered:
            try:
                item: Message | Event = await self._replies.__anext__()
            except (StopAsyncIteration, UpstreamBroken):
                if self._remember() is None and not self._standing:
                    raise
                self._replies = await self._resume()
                continue
            self._backoff.reset()
            self._answered = not self._standing and isinstance(item, Message) and item.is_response
            if isinstance(item, Message):
                return item
        raise StopAsyncIteration

    async def _resume(self) -> EventReplies:
        """GET the rest of the stream. Gives up on a refusal, or after `PATIENCE`; the deadline around it wins."""
        until = trio.current_time() + PATIENCE
        while True:
            self._holder.leave()
            await trio.sleep(self._backoff.next())
            resumed = () if self._last_id is None else ((b"last-event-id", self._last_id),)
            try:
                return await self._upstream.get(self._holder, (*_GET, *_legacy(self._holder), *resumed), self._restore)
            except UpstreamAnswered as error:
                if error.http_status not in (408, 429, 500, 502, 503, 504) or trio.current_time() > until:
                    raise
            except (UpstreamUnreachable, UpstreamBroken):
                if trio.current_time() > until:
                    raise

    def _remember(self) -> bytes | None:
        if self._replies.last_event_id is not None:
            self._last_id = self._replies.last_event_id
        if self._replies.retry is not None:
            self._backoff.floor = self._replies.retry / 1000
        return self._last_id


async def follow(upstream: Poster, exchange: Exchange) -> Followed:
    """What a legacy server sends unasked: reconnected whenever it breaks, until the exchange is left. Raises if the server offers no such stream."""
    holder = _holder(exchange)
    return Followed(upstream, holder, await upstream.get(holder, (*_GET, *_legacy(holder))))


def _holder(exchange: Exchange) -> Exchange:
    """What holds the GET of the moment, so that the one before it is dropped at once; left with `exchange`."""
    holder = Exchange(NOTHING, exchange.era, exchange.session)
    exchange.on_leave(holder.leave)
    return holder


__all__ = ["Backoff", "Followed", "Tools", "call", "fields", "follow"]
