"""A legacy conversation over a peer that has no pipe: its calls, its one stream of unasked messages, what its server is told.

In: limits. Out: a `Talk`; `heard` is what a finished call was told before its response. It owns a task per listener; leaving it ends them.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from dialogue import Json, legacy, listening, message, plain
from peer_calls import Calls, calls

from shadowproxy.config import Limits
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.conversation import Conversation
from shadowproxy.wire.jsonrpc import Message

LIMITS = Limits()
ASK: Json = {"id": "s1", "method": "sampling/createMessage", "params": {}}
LOG: Json = {"method": "notifications/message", "params": {"data": "x"}}
CHANGED: Json = {"method": "notifications/tools/list_changed"}


class Talk:
    """A conversation, its calls, and its one stream of unasked messages."""

    def __init__(self, pipe: Calls, limits: Limits, tasks: trio.Nursery) -> None:
        self.pipe, self._tasks = pipe, tasks
        self.conversation = Conversation(pipe.peer, limits)
        self.session = Session(b"s")

    async def call(self, name: str, id: Any = 1) -> int:
        line = await self.pipe.call(name, legacy("tools/call", {}, id, self.session))
        wire: int = line["id"]
        return wire

    async def listen(self) -> Listener:
        listener = Listener(self.conversation)
        self._tasks.start_soon(listener.run)
        await trio.testing.wait_all_tasks_blocked()
        return listener

    def deliver(self, one: Json) -> None:
        """What the server says, before anybody can react to it."""
        self.pipe.peer.deliver(json.dumps({"jsonrpc": "2.0", **one}).encode())

    def question(self, id: Any) -> Message:
        return message(**{**ASK, "id": id})

    async def notify(self, **members: Any) -> list[Json]:
        """What the server is told when the client sends this."""
        exchange = Exchange(message(**members), "legacy", self.session)
        with exchange:
            await self.conversation.notify(exchange)
        return await self.pipe.sent()


class Listener:
    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.heard: list[Json] = []
        self.ended = False
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope, listening() as exchange:
            async for item in self._conversation.listen(exchange):
                assert isinstance(item, Message)
                self.heard.append({k: v for k, v in plain(item).items() if k != "jsonrpc"})
            self.ended = True

    async def leave(self) -> None:
        self.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def talk(limits: Limits = LIMITS) -> AsyncIterator[Talk]:
    async with calls("legacy", limits) as pipe, trio.open_nursery() as tasks:
        yield Talk(pipe, limits, tasks)
        tasks.cancel_scope.cancel()


def heard(talk: Talk, name: str) -> list[Json]:
    """What a finished call was told before its response."""
    outcome = talk.pipe.outcomes[name]
    assert isinstance(outcome, list)
    return [{k: v for k, v in one.items() if k != "jsonrpc"} for one in outcome[:-1]]
