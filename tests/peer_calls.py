"""Calls on a peer that has no pipe: lines in by `say`, lines out by `sent`, each call in a task of its own.

In: exchanges, and what the server says. Out: the lines that would have been written, and what became of every call, by name.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from dialogue import Json, all_of, modern
from programs import PATIENCE

from shadowproxy.config import Config, Limits, Upstream
from shadowproxy.errors import ProxyError
from shadowproxy.exchange import Era, Exchange
from shadowproxy.upstream.peer import Peer
from shadowproxy.wire.jsonrpc import BadMessage

LIMITS = Limits()


class Calls:
    """A peer, and calls under way on it, each in a task of its own."""

    def __init__(self, era: Era, limits: Limits, tasks: trio.Nursery, stdio: bool) -> None:
        self.peer = Peer(Config(upstream=Upstream(command=("server",)), limits=limits, stdio=stdio))
        self.peer.era = era
        self._tasks = tasks
        self.outcomes: dict[str, list[Json] | ProxyError | BadMessage] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def call(self, name: str, exchange: Exchange) -> Json:
        """Begin a call; the line that went over the pipe."""
        self._tasks.start_soon(self._call, name, exchange)
        await trio.testing.wait_all_tasks_blocked()
        return (await self.sent())[-1]

    async def _call(self, name: str, exchange: Exchange) -> None:
        got: list[Json] = []
        with trio.CancelScope() as self.scopes[name]:
            try:
                with exchange:
                    got = await all_of(await self.peer.call(exchange))
            except (ProxyError, BadMessage) as error:
                self.outcomes[name] = error
            else:
                self.outcomes[name] = got

    async def sent(self) -> list[Json]:
        """What has been written since the last time."""
        if not self.peer.outbox.size:
            return []
        data = await self.peer.outbox.take()
        self.peer.outbox.written(len(data))
        return [json.loads(line) for line in data.splitlines()]

    async def say(self, *messages: Json) -> None:
        for one in messages:
            self.peer.deliver(json.dumps({"jsonrpc": "2.0", **one}).encode())
        await trio.testing.wait_all_tasks_blocked()

    async def cancel(self, name: str) -> list[Json]:
        self.scopes[name].cancel()
        await trio.testing.wait_all_tasks_blocked()
        return await self.sent()


@asynccontextmanager
async def calls(era: Era = "modern", limits: Limits = LIMITS, *, stdio: bool = False) -> AsyncIterator[Calls]:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as tasks:
            found = Calls(era, limits, tasks, stdio)
            yield found
            tasks.cancel_scope.cancel()
    assert not found.peer.waiting


def tool(id: Any = 1, token: Any = None, **meta: Any) -> Exchange:
    return modern("tools/call", {"name": "x"}, id, meta={**meta, **({} if token is None else {"progressToken": token})})


def progress(token: Any, **params: Any) -> Json:
    return {"method": "notifications/progress", "params": {"progressToken": token, **params}}
