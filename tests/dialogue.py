"""Both halves of a dialogue with an upstream: exchanges made from plain JSON, replies read back as plain JSON.

In: a method and its parameters as a client would say them. Out: an `Exchange` in either era; the messages of a reply, the response last.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from shadowproxy.exchange import NOTHING, Exchange, Headers, Reply, Session
from shadowproxy.wire.eras import META_CAPABILITIES, META_CLIENT, META_VERSION
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.mcp_http import request_headers

Json: TypeAlias = dict[str, Any]
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META: Json = {META_VERSION: MODERN, META_CAPABILITIES: {}, META_CLIENT: {"name": "test", "version": "1"}}
POST: Headers = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))
NO_ID = object()
NOTHING_MORE: Mapping[str, Any] = {}


def message(**members: Any) -> Message:
    """As it is after it has crossed a wire: its values raw."""
    return Message.decode(json.dumps({"jsonrpc": "2.0", **members}).encode())


def plain(one: Message) -> Json:
    found: Json = json.loads(one.encode())
    return found


def legacy(method: str, params: Json | None = None, id: Any = 1, session: Session | None = None, headers: Headers | None = POST) -> Exchange:
    """A request of the legacy era; a notification with `NO_ID`."""
    members = {"method": method, **({} if params is None else {"params": params}), **({} if id is NO_ID else {"id": id})}
    return Exchange(message(**members), "legacy", session, headers)


def modern(method: str, params: Json | None = None, id: Any = 1, *, meta: Mapping[str, Any] = NOTHING_MORE, http: bool = True,
           headers: Sequence[tuple[bytes, bytes]] | None = None) -> Exchange:  # fmt: skip
    """A request of the modern era, with the fields that belong to it, or `headers`; from stdio if not `http`."""
    request = message(id=id, method=method, params={**(params or {}), "_meta": {**META, **meta}})
    if headers is None and http:
        headers = (*POST, *request_headers(method, Message.decode(request.encode()).params()))
    return Exchange(request, "modern", None, headers)


def listening(session: Session | None = None, headers: Headers | None = POST) -> Exchange:
    return Exchange(NOTHING, "legacy", session, headers)


async def all_of(reply: Reply) -> list[Json]:
    """Every message of a reply; events without one are left out."""
    if isinstance(reply, Message):
        return [plain(reply)]
    return [plain(item) async for item in reply if isinstance(item, Message)]


async def response_of(reply: Reply) -> Json:
    """The response, after whatever came before it."""
    return (await all_of(reply))[-1]
