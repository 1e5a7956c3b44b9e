"""A tape of any size, as a recorder would have made it of the demo's server over HTTP: one long session, and thousands of short ones.

    python -m scenarios.load.made_tape TAPE MEGABYTES [--changed N]

In: a path, a size; with `--changed`, every N-th echo answers in other words. Out: the tape, and a line of JSON with what it took. Of twenty calls of a tool
sixteen echo a hundred bytes, one 16 KB, two count with progress, one fails. The same words make the same tape.
"""
from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from shadowproxy.cli.demo_server import SERVER, answer, text
from shadowproxy.tape.exchanging.writer import write_tape
from shadowproxy.tape.frame import Direction, Frame, Header, Http, Kind
from shadowproxy.wire.jsonrpc import Raw

ORIGIN: Final = 1_790_000_000.0
LONG: Final = 0.25
"""The first session's share of the tape."""
SHORT: Final = 100
"""Calls of every other one."""
SMALL: Final = 100
LARGE: Final = 16_000
WORDS: Final = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "glacier", "harbour", "island", "juniper", "kelp", "lagoon", "meadow", "nimbus", "quartz")
_KEPT: Final = (("content-type", "application/json"), ("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2025-11-25"))
ASKED, TOLD = Http("POST", None, _KEPT), Http(None, 200, (("content-type", "application/json"),))
STREAMED: Final = Http(None, 200, (("content-type", "text/event-stream"),))


class Maker:
    """Frames, one after the other; `bytes` is roughly what they take."""

    def __init__(self, changed: int, pause: float) -> None:
        self._random, self._changed, self._pause = random.Random(4), changed, pause
        self._n = self._exchange = self._echoes = 0
        self._t = 0.0
        self.bytes = 0

    def about(self, session: str) -> Frame:
        self._n += 1
        learned = Raw(json.dumps({"era": "legacy", "server": SERVER, "protocolVersion": "2025-11-25"}).encode())
        return Frame(n=self._n, t=round(self._t, 6), wall=round(ORIGIN + self._t, 6), dir="s2c", kind="about", session=session, message=learned)

    def end(self, session: str) -> Frame:
        """Its client says that it is over."""
        self._n += 1
        return Frame(n=self._n, t=round(self._t, 6), wall=round(ORIGIN + self._t, 6), dir="c2s", kind="end", session=session, http=Http("DELETE", None, _KEPT))

    def frame(self, session: str, dir: Direction, kind: Kind, members: dict[str, Any], **rest: Any) -> Frame:
        self._n += 1
        self._t += self._pause
        message = json.dumps({"jsonrpc": "2.0", **members}, separators=(",", ":")).encode()
        self.bytes += 330 + len(message)
        return Frame(n=self._n, t=round(self._t, 6), wall=round(ORIGIN + self._t, 6), dir=dir, kind=kind, session=session, message=Raw(message),
                     method=members.get("method"), id=Raw(b"%d" % members["id"]) if "id" in members else None, **rest)  # fmt: skip

    def exchange(self, session: str, id: int, method: str, params: dict[str, Any], result: dict[str, Any], steps: int = 0) -> Iterator[Frame]:
        """A request, its progress in so many steps, its answer."""
        self._exchange += 1
        number, token = self._exchange, Raw(b"%d" % id) if steps else None
        asked = self.frame(session, "c2s", "request", {"id": id, "method": method, "params": params}, exchange=number, http=ASKED, token=token)
        yield asked
        stream = f"x{number}" if steps else None
        for step in range(1, steps + 1):
            progress = {"method": "notifications/progress", "params": {"progressToken": id, "progress": step, "total": steps}}
            yield self.frame(session, "s2c", "notification", progress, exchange=number, stream=stream, token=token, http=STREAMED if step == 1 else None)
        yield self.frame(session, "s2c", "response", {"id": id, "result": result}, exchange=number, stream=stream, re=asked.n, http=None if steps else TOLD)

    def greeting(self, session: str) -> Iterator[Frame]:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "made", "version": "1"}}
        yield from self.exchange(session, 0, "initialize", hello, answer("initialize", hello))
        yield self.about(session)
        yield self.frame(session, "c2s", "notification", {"method": "notifications/initialized"}, http=ASKED)
        yield from self.exchange(session, 1, "tools/list", {}, answer("tools/list", {}))

    def call(self, session: str, id: int) -> Iterator[Frame]:
        kind = id % 20
        if kind in (7, 14):
            params = {"name": "count", "arguments": {"steps": 3}, "_meta": {"progressToken": id}}
            return self.exchange(session, id, "tools/call", params, text("counted to 3"), 3)
        if kind == 19:
            params = {"name": "fail", "arguments": {}}
            return self.exchange(session, id, "tools/call", params, answer("tools/call", params))
        said = self._words(LARGE if kind == 10 else SMALL) + f" {id}"
        self._echoes += 1
        other = bool(self._changed) and self._echoes % self._changed == 0
        return self.exchange(session, id, "tools/call", {"name": "echo", "arguments": {"text": said}}, text(said.upper() if other else said))

    def _words(self, size: int) -> str:
        return " ".join(self._random.choices(WORDS, k=size // 7))


def frames(size: int, *, changed: int = 0, pause: float = 0.002) -> Iterator[Frame]:
    """Until there are about `size` bytes of them; `pause` lies between two."""
    maker = Maker(changed, pause)
    for number in itertools.count(1):
        session, until = f"s{number}", size * LONG if number == 1 else size
        yield from maker.greeting(session)
        for id in itertools.count(2):
            if maker.bytes >= until or (number > 1 and id > SHORT):
                break
            yield from maker.call(session, id)
        yield maker.end(session)
        if maker.bytes >= size:
            return


def write(path: Path, made: Iterable[Frame]) -> int:
    """As a tape; how many they were."""
    return write_tape(path, Header(tool="shadowproxy bench", origin=ORIGIN, upstream="https://server.example/mcp"), made)


def main() -> None:
    parser = argparse.ArgumentParser(description="A tape of any size.")
    parser.add_argument("tape", type=Path)
    parser.add_argument("megabytes", type=int)
    parser.add_argument("--changed", type=int, default=0)
    options = parser.parse_args()
    begun = time.perf_counter()
    count = write(options.tape, frames(options.megabytes * 1_000_000, changed=options.changed))
    sys.stdout.write(json.dumps({"frames": count, "seconds": time.perf_counter() - begun}) + "\n")


if __name__ == "__main__":
    main()
