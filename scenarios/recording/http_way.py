"""The way by HTTP: a connection for each message, event streams as they come, the session's id. Spoken by h11.

In: `connect`, which gives clients of a wire (`wires.py`) or of a real socket. Out: a `Way`. `open_http_way` owns a task for each stream;
leaving its block drops them.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import wires
from scripted_client import LEGACY, Asked, Json, ScriptedClient

from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.mcp_http import request_headers
from shadowproxy.wire.sse import SseParser

Connect = Callable[[], Awaitable[wires.Client]]
FAREWELL = 1.0
"""Seconds for the streams to end once the session has; a server need not end them."""


class SocketClient(wires.Client):
    """The client's end of a real connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        socket_stream: Any = stream  # it is asked for no more than every stream has
        super().__init__(socket_stream, socket_stream, socket_stream)
        self._socket = stream.socket

    def leave(self) -> None:
        self._socket.close()


class HttpWay:
    def __init__(self, client: ScriptedClient, connect: Connect, nursery: trio.Nursery) -> None:
        self._client, self._connect, self._nursery = client, connect, nursery
        self._session: bytes | None = None
        self._greeted = False
        self._hearing = 0  # streams that are open

    async def ask(self, asked: Asked) -> None:
        await self._nursery.start(self._exchange, asked)

    async def tell(self, message: Json) -> None:
        connection = await self._connect()
        await connection.send(wires.request_bytes("POST", "/mcp", _encode(message), self._fields(message)))
        response = await connection.response()
        assert response.status == 202, response
        connection.leave()

    async def listen(self, last_event_id: str | None) -> None:
        await self._nursery.start(self._listen, last_event_id)

    async def leave(self) -> None:
        if self._session is not None:
            connection = await self._connect()
            await connection.send(wires.request_bytes("DELETE", "/mcp", fields=self._fields(None)))
            await connection.response("DELETE")
            connection.leave()
            with trio.move_on_after(FAREWELL):
                await self._client.until(lambda: not self._hearing)

    async def _exchange(self, asked: Asked, *, task_status: trio.TaskStatus[None]) -> None:
        with asked.scope:
            connection = await self._connect()
            try:
                await connection.send(wires.request_bytes("POST", "/mcp", _encode(asked.message), self._fields(asked.message)))
                task_status.started()
                head = await connection.head()
                self._learn(asked.message, head)
                await self._answer(connection, head, asked)
            finally:
                connection.leave()

    def _learn(self, message: Json, head: wires.Response) -> None:
        if message["method"] == "initialize":
            session = head["mcp-session-id"]
            self._session, self._greeted = None if session is None else session.encode(), True

    async def _answer(self, connection: wires.Client, head: wires.Response, asked: Asked) -> None:
        if head["content-type"] == "text/event-stream":
            return await self._follow(connection, asked)
        body = b""
        while part := await connection.part():
            body += part
        try:
            await self._client.arrived(json.loads(body))
        except ValueError:
            await self._client.arrived({"id": asked.message["id"], "error": {"code": -head.status, "message": body.decode()}})

    async def _follow(self, connection: wires.Client, asked: Asked | None) -> None:
        parser = SseParser(1 << 24)
        while part := await connection.part():
            for event in parser.feed(part):
                if asked is not None and event.id is not None:
                    asked.event_id = event.id.decode()
                if event.data:
                    await self._client.arrived(json.loads(event.data))

    async def _listen(self, last_event_id: str | None, *, task_status: trio.TaskStatus[None]) -> None:
        fields = [(b"accept", b"text/event-stream"), *self._fields(None)]
        if last_event_id is not None:
            fields.append((b"last-event-id", last_event_id.encode()))
        connection = await self._connect()
        try:
            await connection.send(wires.request_bytes("GET", "/mcp", fields=fields))
            head = await connection.head("GET")
            self._hearing += 1
            task_status.started()
            if head.status == 200:
                await self._follow(connection, None)
            self._hearing -= 1
            self._client.ring()
        finally:
            connection.leave()

    def _fields(self, message: Json | None) -> list[tuple[bytes, bytes]]:
        if message is not None and message.get("method") == "initialize":  # a new session
            self._session, self._greeted = None, False
        fields = [] if message is None else [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
        if self._client.era == "modern" and message is not None:
            return fields + request_headers(message["method"], Message.decode(_encode(message)).params())
        if self._greeted:
            fields.append((b"mcp-protocol-version", LEGACY.encode()))
        return fields if self._session is None else [*fields, (b"mcp-session-id", self._session)]


def _encode(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


@asynccontextmanager
async def open_http_way(client: ScriptedClient, connect: Connect) -> AsyncIterator[None]:
    """`client` speaks this way while the block runs; at its end it says farewell."""
    async with trio.open_nursery() as nursery:
        client.way = HttpWay(client, connect, nursery)
        yield
        await client.way.leave()
        nursery.cancel_scope.cancel()
