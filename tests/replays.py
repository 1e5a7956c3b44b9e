"""A tape that is replayed in memory, and clients that talk to it without any wire between.

    async with replaying(tmp_path, [*handshake(), *tool(4, {"name": "add"}, {"sum": 3})]) as tape:
        client = Caller(tape)
        await client.greet()
        assert (await client.call("tools/call", {"name": "add"}))[-1]["result"] == {"sum": 3}
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from dialogue import NO_ID, POST, Json, all_of, legacy, listening, modern, plain
from tapes import HEADER, happening, notification, request, response, write_tape

from shadowproxy.config import Replay
from shadowproxy.exchange import Exchange, Headers, Reply, Session, Upstream
from shadowproxy.tape.frame import Frame, Header, Http
from shadowproxy.tape.replaying.replay import TapeUpstream
from shadowproxy.tape.replaying.replay_opening import open_replay
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

HELLO: Json = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "recorded", "version": "1"}, "capabilities": {}}
WELCOME: Json = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "taped", "version": "1"}}


def handshake(n: int = 1, session: str = "s1", **hello: Any) -> list[Frame]:
    """Three frames."""
    return [
        request(n, "initialize", {**HELLO, **hello}, id=0, session=session), response(n + 1, n, id=0, result=WELCOME, session=session),
        notification(n + 2, "notifications/initialized", dir="c2s", session=session),
    ]  # fmt: skip


def asked(n: int, method: str, params: Any, result: Any, session: str | None = "s1", id: Any = None, **rest: Any) -> list[Frame]:
    """A request and its answer: two frames."""
    id = n if id is None else id
    return [request(n, method, params, id=id, session=session, **rest), response(n + 1, n, id=id, result=result, session=session)]


def tool(n: int, params: Any, result: Any, session: str | None = "s1") -> list[Frame]:
    return asked(n, "tools/call", params, result, session)


def opened(n: int, session: str | None = "s1", last_event_id: str | None = None) -> Frame:
    """A client opens a GET stream."""
    fields = () if last_event_id is None else (("last-event-id", last_event_id),)
    return happening(n, "open", dir="c2s", exchange=n, stream=f"g{n}", session=session, http=Http("GET", None, fields))


@asynccontextmanager
async def replaying(folder: Path, frames: Sequence[Frame], *, live: Upstream | None = None, header: Header = HEADER, **settings: Any) -> AsyncIterator[TapeUpstream]:
    path = write_tape(folder / "tape.jsonl", frames, header)
    async with open_replay(path, Replay(**settings), live) as upstream:
        yield upstream


class Caller:
    """A client of the legacy era, with its session. `http`: whether it came by HTTP."""

    def __init__(self, upstream: TapeUpstream, *, http: bool = True) -> None:
        self.upstream = upstream
        self.session: Session | None = Session(b"live")
        self.headers: Headers | None = POST if http else None
        self.heard: list[Json] = []  # on its GET streams
        self._ids = iter(range(100, 100_000))

    async def greet(self, **hello: Any) -> Json:
        answer = await self.call("initialize", {**HELLO, "clientInfo": {"name": "live", "version": "2"}, **hello})
        await self.tell("notifications/initialized")
        return answer[-1]

    async def call(self, method: str, params: Json | None = None, id: Any = None) -> list[Json]:
        """All that its stream brought, the response last."""
        with self.exchange(method, params, id) as exchange:
            return await all_of(await self.upstream.call(exchange))

    async def result(self, method: str, params: Json | None = None) -> Json:
        answer = (await self.call(method, params))[-1]
        found: Json = answer["result"]
        return found

    def exchange(self, method: str, params: Json | None = None, id: Any = None) -> Exchange:
        return legacy(method, params, next(self._ids) if id is None else id, self.session, self.headers)

    async def tell(self, method: str, params: Json | None = None) -> None:
        with legacy(method, params, NO_ID, self.session, self.headers) as exchange:
            await self.upstream.notify(exchange)

    async def answer(self, id: Any, result: Json) -> None:
        """To a request of the server."""
        message = Message.decode(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode())
        with Exchange(message, "legacy", self.session, self.headers) as exchange:
            await self.upstream.notify(exchange)

    async def listen(self, last_event_id: bytes | None = None, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED) -> None:
        """A GET stream until it ends; what it brings is in `heard`."""
        with trio.CancelScope() as scope, listening(self.session, self.headers) as exchange:
            exchange.last_event_id = last_event_id
            replies = await self.upstream.listen(exchange)
            task_status.started(scope)
            async for item in replies:
                if isinstance(item, Message):
                    self.heard.append(plain(item))


async def call_modern(upstream: TapeUpstream, method: str, params: Json | None = None, id: Any = 1, **meta: Any) -> list[Json]:
    with modern(method, params, id, meta=meta) as exchange:
        return await all_of(await upstream.call(exchange))


async def each(reply: Reply) -> AsyncIterator[Message | Event]:
    """Everything, events without a message too."""
    if isinstance(reply, Message):
        yield reply
        return
    async for item in reply:
        yield item


async def events_of(upstream: TapeUpstream, exchange: Exchange) -> list[Message | Event]:
    with exchange:
        return [item async for item in each(await upstream.call(exchange))]
