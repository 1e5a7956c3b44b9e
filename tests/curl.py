"""An HTTP client that knows no MCP but what is written here: to see on the wire what an SDK would hide."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import trio
from programs import PATIENCE

Json = dict[str, Any]
MODERN, LEGACY = "2026-07-28", "2025-11-25"
META: Json = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
HELLO: Json = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "curl", "version": "8"}}


class Curl:
    """`era` is "legacy" or "modern". A legacy one has a session while it is open, which it ends at the end unless told to just leave."""

    def __init__(self, url: str, era: str, *, leaves: bool = False) -> None:
        self.url, self.era, self._leaves = url, era, leaves
        self.http = httpx.AsyncClient(timeout=PATIENCE, limits=httpx.Limits(max_connections=None))
        self.session: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        if self.era == "legacy":
            answer = await self.post({"id": 0, "method": "initialize", "params": HELLO})
            assert answer.json()["result"]["protocolVersion"] == LEGACY, answer.text
            self.session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
            told = await self.post({"method": "notifications/initialized"})
            assert (told.status_code, told.content) == (202, b"")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.session and not self._leaves:
            assert (await self.http.delete(self.url, headers=self.session)).is_success
        await self.http.aclose()

    async def post(self, message: Json, **headers: str) -> httpx.Response:
        return await self.http.send(self.request(message, **headers))

    async def call(self, id: object, tool: str, arguments: Json, **meta: object) -> httpx.Response:
        return await self.http.send(self.tool_call(id, tool, arguments, **meta))

    def request(self, message: Json, **headers: str) -> httpx.Request:
        accept = {"accept": "application/json, text/event-stream"}
        return self.http.build_request("POST", self.url, json={"jsonrpc": "2.0", **message}, headers={**accept, **self.session, **headers})

    def tool_call(self, id: object, tool: str, arguments: Json, **meta: object) -> httpx.Request:
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool} if self.era == "modern" else {}
        params = {"name": tool, "arguments": arguments, "_meta": {**(META if self.era == "modern" else {}), **meta}}
        return self.request({"id": id, "method": "tools/call", "params": params}, **headers)

    def standing(self) -> httpx.Request:
        """The stream on which a server of this era says what it was not asked for."""
        if self.era == "legacy":
            return self.http.build_request("GET", self.url, headers={"accept": "text/event-stream", **self.session})
        params = {"notifications": {"toolsListChanged": True}, "_meta": META}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
        return self.request({"id": "s", "method": "subscriptions/listen", "params": params}, **headers)

    @asynccontextmanager
    async def following(self, request: httpx.Request) -> AsyncIterator[trio.MemoryReceiveChannel[Json]]:
        """The messages of an event stream, open already, as they come; the channel ends where the stream ends properly.

        Leaving the block leaves the stream.
        """
        inbox, outbox = trio.open_memory_channel[Json](1000)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow, request, inbox)
            yield outbox
            nursery.cancel_scope.cancel()

    async def _follow(self, request: httpx.Request, inbox: trio.MemorySendChannel[Json], *, task_status: trio.TaskStatus[None]) -> None:
        with inbox:
            answer = await self.http.send(request, stream=True)
            task_status.started()
            try:
                async for line in answer.aiter_lines():
                    if (message := message_in(line)) is not None:
                        inbox.send_nowait(message)
            finally:
                with trio.CancelScope(shield=True):
                    await answer.aclose()


def message_in(line: str) -> Json | None:
    """The message in one line of an event stream, if there is one."""
    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
    message: Json | None = json.loads(data) if data else None
    return message


def events(answer: httpx.Response) -> list[Json]:
    """The messages of a whole event stream."""
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    return [message for line in answer.text.splitlines() if (message := message_in(line)) is not None]


def raw_call(tool: str, arguments: Json, **meta: object) -> bytes:
    """A modern `tools/call` as bytes, for clients that do not even speak HTTP properly."""
    params = {"name": tool, "arguments": arguments, "_meta": {**META, **meta}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
    return f"{head}mcp-protocol-version: {MODERN}\r\nmcp-method: tools/call\r\nmcp-name: {tool}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
