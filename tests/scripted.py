"""An upstream that answers from a list of frames, as plain as can be: what verifying a tape against itself needs, and nothing of the replay's own code.

In: frames of exchanges (`tapes.py`). Out: an `Upstream`. A request gets what the first unused recorded one of its method and parameters got; the server's
own requests get ids of their own and must be answered before the rest comes. `change` may alter a message on its way out, or drop it (None);
`pause` says how long each takes.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import trio

from shadowproxy.exchange import Exchange, Replies, Reply
from shadowproxy.tape.frame import Frame
from shadowproxy.wire.jsonrpc import Message

Change = Callable[[dict[str, Any]], dict[str, Any] | None]


class Scripted:
    def __init__(self, frames: Sequence[Frame], change: Change = lambda value: value, pause: Callable[[], float] = lambda: 0.0) -> None:
        self.frames, self.change, self.pause = frames, change, pause
        self._unused = [frame for frame in frames if frame.kind == "request" and frame.dir == "c2s"]
        self.asked: dict[str, trio.Event] = {}
        self.sent: list[dict[str, Any]] = []  # all that the client said, in order
        self.ended = 0

    async def call(self, exchange: Exchange) -> Reply:
        await trio.lowlevel.checkpoint()
        asked = json.loads(exchange.request.encode())
        self.sent.append(asked)
        recorded = next(frame for frame in self._unused if (frame.method, frame.value().get("params")) == (asked["method"], asked.get("params")))
        self._unused.remove(recorded)
        return Script(self, exchange, iter([frame for frame in self.frames if frame.exchange == recorded.exchange or frame.re == recorded.n]))

    async def notify(self, exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()
        said = json.loads(exchange.request.encode())
        self.sent.append(said)
        if "method" not in said:
            self.asked[said["id"]].set()

    async def listen(self, exchange: Exchange) -> Replies:
        await trio.lowlevel.checkpoint()
        return Script(self, exchange, iter([frame for frame in self.frames if (frame.stream or "").startswith("g")]))

    async def end(self, exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()
        self.ended += 1


class Script:
    """What one exchange gets; it stands open if the response is not among it."""

    def __init__(self, server: Scripted, exchange: Exchange, frames: Iterator[Frame]) -> None:
        self._server, self._exchange, self._frames = server, exchange, frames
        self._waits_for: trio.Event | None = None

    def __aiter__(self) -> Script:
        return self

    async def __anext__(self) -> Message:
        if self._waits_for is not None:
            await self._waits_for.wait()
        for frame in self._frames:
            if frame.dir == "s2c" and frame.message is not None:
                await trio.sleep(self._server.pause())
                if (value := self._server.change(frame.value())) is not None:
                    return self._said(value, frame.n)
        await trio.sleep_forever()
        raise AssertionError

    def _said(self, value: dict[str, Any], n: int) -> Message:
        if "method" in value and "id" in value:
            value = {**value, "id": f"live-{n}"}
            self._waits_for = self._server.asked[value["id"]] = trio.Event()
        elif "id" in value:
            value = {**value, "id": json.loads(bytes(self._exchange.id or b"null"))}
        return Message.decode(json.dumps(value).encode())
