"""What a proxy adds to the latency of a lone client with keep-alive, who asks again as soon as it is answered.

All proxies run at once and are asked in turn, in short blocks, so that each block has its direct one beside it; the idle ones cost nothing.
"""
from __future__ import annotations

import json
import re
import socket
import time
from contextlib import ExitStack, closing
from functools import partial
from statistics import quantiles
from typing import ClassVar

from scenarios.load.client import FIELDS, HOST, VERSION, call, check, open_sessions
from scenarios.load.load import Column, take
from scenarios.load.plan import BenchError
from scenarios.load.processes import on_cpu
from scenarios.load.proxies import DIRECT, PROXIES, SHADOWPROXY
from scenarios.load.results import Figures, Rows
from scenarios.load.rig import Rig

BLOCK = 1000
BLOCKS = 3
"""For each of the plan's rounds."""


class Caller:
    """A connection on which the same call is made again and again."""

    def __init__(self, port: int, session: str, argument: int) -> None:
        self._sock = socket.create_connection((HOST, port), 10)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._session, self._argument, self._id = session, argument, 10

    def close(self) -> None:
        self._sock.close()

    def block(self, count: int) -> list[float]:
        """Seconds that each of `count` calls took."""
        taken = []
        for _ in range(count):
            request = self._request()
            start = time.perf_counter()
            self._sock.sendall(request)
            self._receive()
            taken.append(time.perf_counter() - start)
        return taken

    def _request(self) -> bytes:
        self._id += 1
        body = json.dumps(call(self._id, self._argument)).encode()
        fields = {**FIELDS, "MCP-Protocol-Version": VERSION, "Mcp-Session-Id": self._session, "Content-Length": str(len(body))}
        return "\r\n".join(["POST /mcp HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode() + body

    def _receive(self) -> None:
        seen = self._sock.recv(65536)
        while b"\r\n\r\n" not in seen or len(seen) < _length(seen):
            more = self._sock.recv(65536)
            if not more:
                raise BenchError(f"the connection was closed: {seen[:200]!r}")
            seen += more
        if not seen.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"a call was answered with {seen[:200]!r}")


def _length(seen: bytes) -> int:
    head = seen.index(b"\r\n\r\n") + 4
    field = re.search(rb"\r\ncontent-length: *(\d+)", seen[:head], re.IGNORECASE)
    if field is None:
        raise BenchError(f"an answer without its length: {seen[:head]!r}")
    return head + int(field[1])


class Latency:
    """A lone client."""

    name = "latency"
    title = "A lone client"
    about = "HTTP → HTTP, JSON, one connection: what each proxy adds to the time of a call, against the same call without it beside it."
    at = "connections"
    order = (DIRECT, "nginx", "envoy", SHADOWPROXY)
    proxies: ClassVar = {name: PROXIES[name] for name in order if name != DIRECT}
    columns = (Column("p50 ms", "p50_ms", 3), Column("added", "added_p50_ms", 3), Column("p99 ms", "p99_ms", 3), Column("added", "added_p99_ms", 3))

    def run(self, rig: Rig) -> Rows:
        rows = Rows()
        with ExitStack() as stack:
            server = stack.enter_context(rig.http_server())
            callers: dict[str, Caller] = {}
            for name in self.order:
                if name == DIRECT or rig.plan.wants(name):
                    callers[name] = stack.enter_context(closing(self._caller(rig, stack, name, server)))
            with on_cpu(rig.plan.load_cpu):
                for caller in callers.values():
                    caller.block(BLOCK)
                for _ in range(rig.plan.repeat * BLOCKS):
                    _round(rows, callers)
        return rows

    def _caller(self, rig: Rig, stack: ExitStack, name: str, server: int) -> Caller:
        port, process = server, None
        if name != DIRECT:
            place = rig.place(server)
            port, process = place.port, stack.enter_context(rig.proxy(PROXIES[name], place))
        session = open_sessions(port, 1, process)[0]
        check(port, session, rig.plan.bytes, id=1)
        return Caller(port, session, rig.plan.argument)


def _round(rows: Rows, callers: dict[str, Caller]) -> None:
    direct: Figures = {}

    def measure(caller: Caller) -> Figures:
        percentiles = quantiles(caller.block(BLOCK), n=100)
        figures = {"p50_ms": percentiles[49] * 1e3, "p99_ms": percentiles[98] * 1e3}
        if not direct:
            direct.update(figures)
            return figures
        return {**figures, "added_p50_ms": figures["p50_ms"] - direct["p50_ms"], "added_p99_ms": figures["p99_ms"] - direct["p99_ms"]}

    for name, caller in callers.items():
        take(rows.row(name, "1"), partial(measure, caller))
