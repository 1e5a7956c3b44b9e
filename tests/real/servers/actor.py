"""An MCP server on stdio that behaves as it is told, well or badly. One thread, the standard library only, so it starts in no time.

    python -IS actor.py [--era legacy|modern|both] [--at-start die|mute|chatter] [--deaf]

`--at-start die` ends at once with words on stderr, `mute` never answers, `chatter` begins with garbage on stdout; `--deaf` ignores the end of its
input and SIGTERM. What its tools do is in `Actor`: a method `tool_x` is the tool `x`, its arguments are the method's.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from typing import Any

Json = dict[str, Any]
MODERN = "2026-07-28"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


class Actor:
    def __init__(self, era: str) -> None:
        self.era = era
        self.seen: list[Json] = []
        self.asked: dict[str, Any] = {}  # our request -> the call that it is for
        self.subscriptions: list[Any] = []
        self.header = "Region"

    # ------------------------------------------------ out
    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def say(self, **message: Any) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def answer(self, id: Any, **result: Any) -> None:
        self.say(id=id, result={**result, "pid": os.getpid()})

    def refuse(self, id: Any, code: int, text: str, **data: Any) -> None:
        self.say(id=id, error={"code": code, "message": text, "data": data})

    # ------------------------------------------------ in
    def take(self, message: Json) -> None:
        self.seen.append(message)
        if "method" not in message:
            call = self.asked.pop(message["id"], None)
            if call is not None:
                self.answer(call, answer=message.get("result", message.get("error")))
        elif "id" in message:
            self.request(message["id"], message["method"], message.get("params", {}))

    def request(self, id: Any, method: str, params: Json) -> None:
        modern = "io.modelcontextprotocol/protocolVersion" in params.get("_meta", {})
        if modern and self.era == "legacy":
            return self.refuse(id, -32601, "Method not found")
        if not modern and self.era == "modern":
            return self.refuse(id, -32022, "modern only", supported=[MODERN], requested="?")
        if method == "initialize":
            self.answer(id, protocolVersion=params.get("protocolVersion"), capabilities={}, serverInfo={"name": "actor", "version": "1"})
        elif method == "server/discover":
            self.answer(id, supportedVersions=[MODERN], capabilities={}, ttlMs=0, cacheScope="private")
        elif method == "tools/list":
            region = {"type": "string", "x-mcp-header": self.header}
            self.answer(id, tools=[{"name": "echo", "inputSchema": {"type": "object", "properties": {"region": region}}}], ttlMs=0, cacheScope="private")
        elif method == "subscriptions/listen":
            self.subscriptions.append(id)
            self.notify("notifications/subscriptions/acknowledged", _meta={SUBSCRIPTION: id})
        elif method == "tools/call" and hasattr(self, f"tool_{params['name']}"):
            self.call = params
            getattr(self, f"tool_{params['name']}")(id, **params.get("arguments", {}))
        else:
            self.refuse(id, -32601, "Method not found")

    def notify(self, method: str, **params: Any) -> None:
        self.say(method=method, params=params)

    # ------------------------------------------------ tools that behave
    def tool_echo(self, id: Any, **arguments: Any) -> None:
        self.answer(id, arguments=arguments)

    def tool_hang(self, id: Any) -> None:
        """No answer, ever."""

    def tool_seen(self, id: Any) -> None:
        """All that has been sent to it, as it came."""
        self.answer(id, seen=self.seen)

    def tool_progress(self, id: Any, steps: int) -> None:
        for step in range(steps):
            self.notify("notifications/progress", progressToken=self.call["_meta"]["progressToken"], progress=step)
        self.answer(id)

    def tool_log(self, id: Any) -> None:
        self.notify("notifications/message", level="info", data=str(id))
        self.answer(id)

    def tool_ask(self, id: Any, request: Any = "q") -> None:
        """A request of its own; the answer to it is the answer of the call."""
        self.asked[request] = id
        self.say(id=request, method="roots/list")

    def tool_change(self, id: Any) -> None:
        """Tell everybody of a change: each subscription, or, in the old way, whoever listens."""
        for subscription in self.subscriptions:
            self.notify("notifications/tools/list_changed", _meta={SUBSCRIPTION: subscription})
        if not self.subscriptions:
            self.notify("notifications/tools/list_changed")
        self.answer(id)

    def tool_end(self, id: Any) -> None:
        """End every subscription, the first by its result, the others by a cancellation."""
        first, *others = self.subscriptions
        self.answer(first, _meta={SUBSCRIPTION: first})
        for subscription in others:
            self.notify("notifications/cancelled", requestId=subscription)
        self.subscriptions.clear()
        self.answer(id)

    def tool_retool(self, id: Any, header: str) -> None:
        self.header = header
        self.answer(id)

    # ------------------------------------------------ tools that do not
    def tool_die(self, id: Any, status: int, words: str = "") -> None:
        sys.stderr.write(words)
        sys.stderr.flush()
        os._exit(status)

    def tool_garble(self, id: Any) -> None:
        """What is no message, answers to nobody, half an answer; then the answer, twice."""
        self.write(b"hello?\n\n{\n\xff\xfe\n[1, 2]\n" + b"[" * 100_000 + b"\n")
        self.say(id=999, result={"evil": True})
        self.say(id=str(id), result={"evil": True})
        self.say(id=None, error={"code": 1, "message": "evil"})
        self.notify("notifications/progress", progressToken=999, progress=1)
        self.write(b'{"jsonrpc":"2.0", \r\t "id":%d,"result":{"good"' % id)
        time.sleep(0.01)
        self.write(b":true}}\r\n")
        self.say(id=id, result={"evil": True})

    def tool_huge(self, id: Any, size: int) -> None:
        self.answer(id, text="x" * size)

    def tool_close(self, id: Any, fd: int, words: str = "") -> None:
        """Close one of its pipes, and live on."""
        os.write(1, words.encode())
        os.close(fd)
        while True:
            time.sleep(3600)

    def tool_unfinished(self, id: Any) -> None:
        """Its last words on stdout lack their end."""
        self.write(b'{"jsonrpc":"2.0","id":%d,"result":{}' % id)
        os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", default="both")
    parser.add_argument("--at-start")
    parser.add_argument("--deaf", action="store_true")
    options = parser.parse_args()
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.at_start == "die":
        sys.stderr.write("Traceback\n  cannot find module 'left-pad'\n")
        sys.exit(7)
    actor = Actor(options.era)
    if options.at_start == "chatter":
        actor.write(b"Welcome to actor v1!\nListening on stdio...\n\n")
    for line in sys.stdin.buffer:
        if options.at_start != "mute":
            actor.take(json.loads(line))
    while options.deaf:
        time.sleep(3600)


if __name__ == "__main__":
    main()
