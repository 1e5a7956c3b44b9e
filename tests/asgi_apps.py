"""Small ASGI applications to put behind the HTTP server: one that says what it was asked, and one made of a test's own function."""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import trio

Event: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]


@attrs.frozen
class Seen:
    """One request as an application sees it."""

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    version: str


class Recorder:
    """Reads each request to its end, remembers it, and answers with its number and its size. `before` runs in between."""

    def __init__(self, before: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint) -> None:
        self.before = before
        self.seen: list[Seen] = []
        self.left = 0  # clients that left before their request was complete

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.left += 1
                return
            body, more = body + event["body"], event["more_body"]
        self.seen.append(Seen(scope["method"], scope["path"], scope["query_string"], tuple(scope["headers"]), body, scope["http_version"]))
        number = len(self.seen)
        await self.before()
        await answer(send, json.dumps({"number": number, "size": len(body)}).encode())


async def answer(send: Send, body: bytes = b"", status: int = 200, *fields: tuple[bytes, bytes]) -> None:
    """A whole answer with its length."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body)), *fields]})
    await send({"type": "http.response.body", "body": body})


async def at_once(scope: Event, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await answer(send, b"done")


async def trickle(scope: Event, receive: Receive, send: Send) -> None:
    """An answer in three parts whose length nobody said."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"one ", b"two ", b"three"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await trio.sleep(1)
    await send({"type": "http.response.body", "body": b""})
