"""The server behind a crowd, whatever carries its messages: it does what each request says, and complains of what no server should see.

In: requests, each from a `place` (a child, a session) whose ids are its own. Out: messages by the `say` of that place. Each call runs in its carrier's task;
`running` knows those under way. What is wrong is kept in `complaints`, because a server's exceptions would be taken for its death.
"""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeAlias

import trio
from dialogue import LEGACY, MODERN, Json
from memory_children import MemoryChild

from shadowproxy.wire.eras import META_LOG_LEVEL, META_SUBSCRIPTION

Say: TypeAlias = Callable[[Json], Awaitable[None]]
Key: TypeAlias = tuple[Hashable, str]
ASKING = 1.0
ERROR, CANCELLED = 7, 8
"""Codes of its own."""


def progress(token: Any, number: int) -> Json:
    return {"method": "notifications/progress", "params": {"progressToken": token, "number": number}}


class Server:
    def __init__(self, era: str) -> None:
        self.era = era
        self.complaints: list[str] = []
        self.running: dict[Key, trio.CancelScope] = {}
        self.seen: set[Key] = set()
        self.deaths = 0
        self._cancelled: set[Key] = set()
        self._looked: dict[int, int] = {}  # how much of what a child has read was looked at for cancellations
        self._asked: dict[Key, tuple[int, trio.Event]] = {}

    # ------------------------------------------------ what arrives
    def is_call(self, message: Json) -> bool:
        return message.get("method") in ("tools/call", "subscriptions/listen")

    def handshake(self, message: Json) -> Json:
        """The result of what is neither a call nor a notification."""
        match message["method"]:
            case "initialize":
                return {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            case "server/discover":
                return {"supportedVersions": [MODERN] if self.era == "modern" else [LEGACY], "capabilities": {}}
            case "tools/list":
                return {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        return {}

    def cancel(self, place: Hashable, id: Any) -> None:
        key = key_of(place, id)
        self._cancelled.add(key)
        if key in self.running:
            self.running[key].cancel(reason="the client has cancelled it")

    def desert(self, place: Hashable) -> None:
        """Nobody of there can be answered any more."""
        for key, scope in self.running.items():
            if key[0] == place:
                scope.cancel(reason="the client is gone")

    def answered(self, place: Hashable, message: Json) -> None:
        """The answer to a request of ours has come, or a refusal."""
        number, event = self._asked.pop(key_of(place, message["id"]), (None, None))
        if event is None:
            return self.complaints.append(f"{place} got the answer {message} to what it has not asked")
        event.set()
        if "result" in message and message["result"]["number"] != number:
            self.complaints.append(f"{place} asked {number} and was answered {message}")

    # ------------------------------------------------ a call
    async def call(self, place: Hashable, message: Json, say: Say) -> str:
        """How it ended: "result", "error", "death" (which is the carrier's affair), or "cancelled"."""
        key = key_of(place, message["id"])
        if key in self._cancelled:  # its cancellation was quicker
            return "cancelled"
        if key in self.running:
            self.complaints.append(f"{key} is in use already")
        with trio.CancelScope() as self.running[key]:
            try:
                return await self._act(place, message, say)
            finally:
                self.running.pop(key, None)
        return "cancelled"

    async def _act(self, place: Hashable, message: Json, say: Say) -> str:
        step: Json = message["params"]["arguments"]
        meta: Json = message["params"]["_meta"]
        listens = message["method"] == "subscriptions/listen"
        for _ in range(step["notes"]):
            await trio.sleep(step["delay"])
            if listens:
                await say({"method": "notifications/x", "params": {"_meta": {META_SUBSCRIPTION: message["id"]}, "number": step["number"]}})
            elif "progressToken" in meta:
                await say(progress(meta["progressToken"], step["number"]))
            await self._extras(place, step, meta, say)
        await trio.sleep(step["delay"])
        if step["end"] == "silence":
            await trio.sleep_forever()
        if step["end"] == "death":
            self.deaths += 1
        elif step["end"] == "error":
            await say({"id": message["id"], "error": {"code": ERROR, "message": "", "data": step["number"]}})
        else:
            own = {"_meta": {META_SUBSCRIPTION: message["id"]}} if listens else {}
            await say({"id": message["id"], "result": {"number": step["number"], **own}})
        return str(step["end"])

    async def _extras(self, place: Hashable, step: Json, meta: Json, say: Say) -> None:
        if "log" in step["extras"] and (self.era == "legacy" or META_LOG_LEVEL in meta):
            await say({"method": "notifications/message", "params": {"number": step["number"]}})
        if "shout" in step["extras"] and self.era == "legacy":
            await say({"method": "notifications/resources/list_changed", "params": {"number": step["number"]}})
        if "ask" in step["extras"] and self.era == "legacy":
            id = sum(place == other for other, _ in self._asked) + 1  # the same in every session
            while key_of(place, id) in self._asked:
                id += 1
            _, event = self._asked[key_of(place, id)] = step["number"], trio.Event()
            await say({"id": id, "method": "roots/list", "params": {"number": step["number"]}})
            with trio.move_on_after(ASKING):
                await event.wait()

    # ------------------------------------------------ as a child
    async def program(self, child: MemoryChild, message: Json) -> None:
        """For `memory_children`, which begins on several messages in any order; a server has read the cancellations before what came after them."""
        for earlier in child.read[self._looked.get(child.pid, 0) :]:
            if earlier.get("method") == "notifications/cancelled":
                self.cancel(child.pid, earlier["params"]["requestId"])
        self._looked[child.pid] = len(child.read)
        if "method" not in message:
            self.answered(child.pid, message)
        elif self.is_call(message):
            key = key_of(child.pid, message["id"])
            if key in self.seen:
                self.complaints.append(f"{key}: no id comes twice on a pipe")
            self.seen.add(key)
            if await self.call(child.pid, message, child.say) == "death":
                child.exit(1, "what a day")
        elif "id" in message:
            await child.say({"id": message["id"], "result": self.handshake(message)})


def key_of(place: Hashable, id: Any) -> Key:
    return place, json.dumps(id)
