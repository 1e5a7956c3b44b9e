"""A client that does what a script says: it asks, answers what the server asks, cancels, listens. Plain JSON-RPC, nothing of any SDK.

In: a way to the server (`http_way.py`, `pipe_way.py`), which brings every message to `arrived`. Out: replies, and all that came meanwhile. The same
script runs against a live server and against a tape, so it waits for what was said and never for time. The way's block owns all tasks.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import attrs
import trio

Json: TypeAlias = dict[str, Any]
Era: TypeAlias = Literal["legacy", "modern"]
LEGACY, MODERN = "2025-11-25", "2026-07-28"
ME: Json = {"name": "scenario", "version": "1"}


@attrs.define(eq=False)
class Asked:
    """A request of ours. `stream` ends what its way holds for it."""

    message: Json
    done: trio.Event = attrs.field(factory=trio.Event)
    reply: Json | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    event_id: str | None = None  # of the last event that its stream has brought


class Way(Protocol):
    """How messages get to the server and back."""

    async def ask(self, asked: Asked) -> None:
        """Send a request; return when it is on its way. What comes for it is told to the client."""
        ...

    async def tell(self, message: Json) -> None:
        """Send what expects nothing back."""
        ...

    async def listen(self, last_event_id: str | None) -> None:
        """Hear what the server says unasked; return when it is open, or not offered."""
        ...

    async def leave(self) -> None:
        """Say farewell, in the way's own manner."""
        ...


class ScriptedClient:
    """`answers`: results for the server's requests, by method; what is not among them is refused."""

    def __init__(self, era: Era = "legacy", capabilities: Json | None = None, answers: Mapping[str, Json] | None = None) -> None:
        self.era, self.capabilities, self.answers = era, capabilities or {}, dict(answers or {})
        self.way: Way
        self.told: list[Json] = []  # notifications
        self.was_asked: list[Json] = []  # by the server
        self.replies: list[Json] = []  # to its requests; a resumed stream may bring one again
        self._asked: dict[int, Asked] = {}
        self._number = 0
        self._bell = trio.Event()

    # ------------------------------------------------ what a script says
    async def greet(self, *, listen: bool = True) -> Json:
        """The handshake of the client's era; its result."""
        if self.era == "modern":
            return await self.result("server/discover")
        hello = await self.result("initialize", protocolVersion=LEGACY, capabilities=self.capabilities, clientInfo=ME)
        await self.tell("notifications/initialized")
        if listen:
            await self.way.listen(None)
        return hello

    async def begin(self, method: str, *, token: str | None = None, **params: Any) -> Asked:
        """Ask, and go on without the reply. `token`: have progress told."""
        self._number += 1
        asked = self._asked[self._number] = Asked(self._message(method, params, token))
        asked.message["id"] = self._number
        await self.way.ask(asked)
        return asked

    async def reply(self, asked: Asked) -> Json:
        await asked.done.wait()
        assert asked.reply is not None
        return asked.reply

    async def ask(self, method: str, *, token: str | None = None, **params: Any) -> Json:
        """Ask, and wait for the reply."""
        return await self.reply(await self.begin(method, token=token, **params))

    async def result(self, method: str, *, token: str | None = None, **params: Any) -> Json:
        reply = await self.ask(method, token=token, **params)
        assert "result" in reply, reply
        found: Json = reply["result"]
        return found

    async def tool(self, name: str, *, token: str | None = None, **arguments: Any) -> Json:
        """Call a tool; its result."""
        return await self.result("tools/call", token=token, name=name, arguments=arguments)

    async def tell(self, method: str, **params: Any) -> None:
        await self.way.tell(self._message(method, params, None))

    async def cancel(self, asked: Asked) -> None:
        """Give a request up: on a legacy server's word of honour, and then by no longer listening for it."""
        await self.tell("notifications/cancelled", requestId=asked.message["id"], reason="the script says so")
        asked.scope.cancel()

    def drop(self, asked: Asked) -> str:
        """Lose the stream of a request without giving it up; from which event on it can be resumed."""
        asked.scope.cancel()
        assert asked.event_id is not None
        return asked.event_id

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what was heard makes this true."""
        while not condition():
            self._bell = trio.Event()
            await self._bell.wait()

    def heard(self, method: str) -> list[Json]:
        """The params of the notifications of this method."""
        return [one.get("params", {}) for one in self.told if one["method"] == method]

    def _message(self, method: str, params: Json, token: str | None) -> Json:
        meta: Json = {} if token is None else {"progressToken": token}
        if self.era == "modern":
            named = {"protocolVersion": MODERN, "clientInfo": ME, "clientCapabilities": self.capabilities}
            meta.update({f"io.modelcontextprotocol/{name}": value for name, value in named.items()})
        params = {**params, **({"_meta": meta} if meta else {})}
        return {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}

    # ------------------------------------------------ what the way brings
    async def arrived(self, message: Json) -> None:
        if "result" in message or "error" in message:
            self.replies.append(message)
            asked = self._asked.get(message.get("id", 0))
            if asked is not None:
                asked.reply = message
                asked.done.set()
        elif "method" in message and "id" in message:
            self.was_asked.append(message)
            answer = self.answers.get(message["method"])
            refusal = {"error": {"code": -32601, "message": "the script has no answer"}}
            await self.way.tell({"jsonrpc": "2.0", "id": message["id"], **(refusal if answer is None else {"result": answer})})
        elif "method" in message:
            self.told.append(message)
        self.ring()

    def ring(self) -> None:
        """Something has happened."""
        self._bell.set()
