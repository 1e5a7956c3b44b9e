"""One request to an ASGI application, without any server: the seam as a foreign server has it, with no extension of ours.

In: an application and a request. Out: what it sent. `run` is the application's task; `leave` is the client's disconnecting.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import trio
from asgi_apps import Event
from dialogue import Json

from shadowproxy.downstream.http1 import App
from shadowproxy.exchange import Exchange
from shadowproxy.wire.sse import SseParser


class Direct:
    def __init__(self, app: App, exchange: Exchange | None = None, *, method: str = "POST", path: str = "/mcp", fields: Sequence[tuple[bytes, bytes]] = (),
                 parts: Sequence[bytes] | None = None) -> None:  # fmt: skip
        headers = [(b"host", b"localhost"), *((exchange.headers or ()) if exchange is not None else ()), *fields]
        self.scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "2", "method": method, "scheme": "http", "path": path,
                                      "raw_path": path.encode(), "query_string": b"", "headers": headers, "client": None, "server": None}  # fmt: skip
        self._app = app
        self._parts = list(parts) if parts is not None else [exchange.request.encode() if exchange is not None else b""]
        self._left = trio.Event()
        self.sent: list[Event] = []
        self.times: list[float] = []
        self.before_send: trio.Event | None = None  # to be waited for with every event, as for a client that does not read
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            await self._app(self.scope, self._receive, self._send)
        finally:
            self.ended.set()

    async def _receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        assert not self.sent or self.sent[-1].get("more_body", self.sent[-1]["type"] == "http.response.start"), f"{event} after the end"
        assert (event["type"] == "http.response.start") == (not self.sent), f"{event} at this place"
        self.sent.append(event)
        self.times.append(trio.current_time())
        if self.before_send is not None:
            await self.before_send.wait()

    def leave(self) -> None:
        self._left.set()

    # ------------------------------------------------ what came
    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    def __getitem__(self, name: str) -> str | None:
        return {key.decode(): value.decode() for key, value in self.sent[0]["headers"]}.get(name)

    @property
    def whole(self) -> bool:
        """Whether the answer has been ended."""
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body", False)

    @property
    def body(self) -> bytes:
        return b"".join(event.get("body", b"") for event in self.sent[1:])

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def messages(self) -> list[Json]:
        return [json.loads(event.data) for event in SseParser(1 << 20).feed(self.body) if event.data]

    @property
    def comments(self) -> int:
        return self.body.count(b": keep-alive")
