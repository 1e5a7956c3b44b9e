"""The crowd's server on HTTP: Streamable HTTP of both eras, and the two endpoints of 2024-11-05. Handlers for `peers.open_peer`.

Owns no task but those for answers on a 2024 stream, which live in the nursery that it is given.
"""
from __future__ import annotations

import json
from functools import partial

import trio
from crowd.server import CANCELLED, Server
from dialogue import Json
from peers import Asked, Wire, chunk


class Streamable:
    """A session's name is given by `initialize` and forgotten with its death."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._sessions: set[str] = set()
        self._count = 0

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        session = asked["mcp-session-id"]
        if session is not None and session not in self._sessions:
            return await wire.answer(404)
        if asked.method != "POST":
            self._sessions.discard(session or "")
            return await wire.answer(200 if asked.method == "DELETE" else 405)
        message = asked.message
        if "id" not in message or "method" not in message:
            self._take(session, message)
            return await wire.answer(202)
        if message["method"] == "initialize":
            return await wire.json({"id": message["id"], "result": self.server.handshake(message)}, mcp_session_id=self._begin())
        if not self.server.is_call(message):
            return await wire.json({"id": message["id"], "result": self.server.handshake(message)})
        await self._call(session, message, wire)

    def _begin(self) -> str:
        self._count += 1
        self._sessions.add(f"theirs-{self._count}")
        return f"theirs-{self._count}"

    def _take(self, session: str | None, message: Json) -> None:
        if "method" not in message:
            self.server.answered(session, message)
        elif message["method"] == "notifications/cancelled":
            self.server.cancel(session, message["params"]["requestId"])

    async def _call(self, session: str | None, message: Json, wire: Wire) -> None:
        place = session or wire.number  # without sessions, the connection is the correlation
        response = Response(wire)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, wire, nursery.cancel_scope)
            self.server._cancelled.discard((place, json.dumps(message["id"])))  # an id may be used again
            end = await self.server.call(place, message, response.say)
            if end == "death" and session is not None:
                self._sessions.discard(session)
                await wire.answer(404) if not response.begun else wire.close()
            elif end == "death":
                wire.close()
            elif end == "cancelled":
                await response.say({"id": message["id"], "error": {"code": CANCELLED, "message": "cancelled"}})
            nursery.cancel_scope.cancel()

    async def _watch(self, wire: Wire, scope: trio.CancelScope) -> None:
        """A client that drops the connection is not worked for any more."""
        await wire.gone()
        scope.cancel()


class Response:
    """JSON if the response is all there is, else events."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.begun = wire, False

    async def say(self, message: Json) -> None:
        last = "method" not in message
        if not self.begun and last:
            return await self.wire.json(message)
        if not self.begun:
            await self.wire.begin_events()  # nothing is out if it is cancelled in here
            self.begun = True
        await self.wire.event(message)
        if last:
            await self.wire.end_events()


class Old:
    """2024-11-05: GET names an endpoint of its own; what is POSTed there is answered on the stream. Its death is the end of the stream."""

    def __init__(self, server: Server, tasks: trio.Nursery) -> None:
        self.server, self._tasks = server, tasks
        self._streams: dict[str, Wire] = {}
        self._writing = trio.Lock()
        self._count = 0

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        if asked.method == "GET":
            return await self._stream(wire)
        stream = self._streams.get(asked.target)
        if stream is None:
            return await wire.answer(405)
        await wire.answer(202)
        self._tasks.start_soon(self._take, asked.target, asked.message, stream)

    async def _stream(self, wire: Wire) -> None:
        self._count += 1
        place = f"/messages?session={self._count}"
        self._streams[place] = wire
        await wire.begin_events()
        await wire.send(chunk(f"event: endpoint\ndata: {place}\n\n".encode()))
        await wire.gone()
        self.server.desert(place)

    async def _take(self, place: str, message: Json, stream: Wire) -> None:
        say = partial(self._say, stream)
        if stream.closed.is_set():
            return  # nobody would hear it
        if "method" not in message:
            self.server.answered(place, message)
        elif self.server.is_call(message):
            if await self.server.call(place, message, say) == "death":
                stream.close()
        elif message["method"] == "notifications/cancelled":
            self.server.cancel(place, message["params"]["requestId"])
        elif "id" in message:
            await say({"id": message["id"], "result": self.server.handshake(message)})

    async def _say(self, stream: Wire, message: Json) -> None:
        async with self._writing:
            await stream.event(message)
