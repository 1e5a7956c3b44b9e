"""What an idle session and an idle stream hold, at a thousand and at five thousand of them.

In: a proxy with its limits raised by a configuration file. Out: how much its PSS (what no file backs of it) grew, divided by how many there
are. A few sessions and streams are opened first and stay, so that what is loaded or allocated once is not counted. GET streams are opened one
for each session, after the sessions were weighed: they are what a listening client costs on top of its session.
"""
from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar, Self

from scenarios.load.client import get, listen, open_sessions, open_stream
from scenarios.load.load import Column, take
from scenarios.load.processes import Process, on_cpu, settled
from scenarios.load.proxies import PROXIES, SHADOWPROXY
from scenarios.load.results import Figures, Rows
from scenarios.load.rig import Rig

FEW = 50
HEAD = b"\r\n\r\n"
LIMITS = """
[upstream]
pool = 20000
[limits]
connections = 20000
exchanges = 20000
sessions = 20000
[timeouts]
session_idle = 3600
"""


class Memory:
    """Idle sessions and streams; Envoy, which knows no sessions, has its streams weighed beside ours."""

    name = "memory"
    title = "Idle sessions and streams"
    about = ("HTTP → HTTP. Growth of the proxy's PSS, as far as no file backs it, for each idle session, each GET stream (beside its session)"
             " and each `subscriptions/listen`. KB are 1000 bytes.")  # fmt: skip
    at = "what"
    order = (SHADOWPROXY, "envoy")
    proxies: ClassVar = {name: PROXIES[name] for name in order}
    columns = (Column("KB each", "kb_each", 1), Column("PSS MB", "pss_mb", 1))

    def run(self, rig: Rig) -> Rows:
        rows = Rows()
        for _ in range(rig.plan.repeat):
            for count in rig.plan.counts:
                for name in filter(rig.plan.wants, self.order):
                    _sessions_and_streams(rig, rows, name, count)
                    _subscriptions(rig, rows, name, count)
        return rows


def _sessions_and_streams(rig: Rig, rows: Rows, name: str, count: int) -> None:
    sessions: list[str] = []

    def open_them(port: int, process: Process) -> None:
        sessions.extend(open_sessions(port, count, process))

    with _Scales(rig, name) as scales:
        few = open_sessions(scales.port, FEW, scales.process)
        scales.streams(FEW, lambda n: get(few[n]), HEAD)
        if name == SHADOWPROXY:
            take(rows.row(name, f"session, {count}"), lambda: scales.weigh(count, lambda: open_them(scales.port, scales.process)))
        else:
            open_them(scales.port, scales.process)
        take(rows.row(name, f"GET stream, {count}"), lambda: scales.weigh(count, lambda: scales.streams(count, lambda n: get(sessions[n]), HEAD)))


def _subscriptions(rig: Rig, rows: Rows, name: str, count: int) -> None:
    with _Scales(rig, name) as scales:
        scales.streams(FEW, listen, b"acknowledged")
        take(rows.row(name, f"listen stream, {count}"), lambda: scales.weigh(count, lambda: scales.streams(count, listen, b"acknowledged")))


class _Scales:
    """A proxy, and the streams that are open on it until the block is left."""

    def __init__(self, rig: Rig, name: str) -> None:
        self._rig, self._name, self._stack = rig, name, ExitStack()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        with self._stack:
            place = self._rig.place(self._stack.enter_context(self._rig.http_server()), LIMITS)
            self.port = place.port
            self.process = self._stack.enter_context(self._rig.proxy(PROXIES[self._name], place))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._open:
            sock.close()
        self._stack.close()

    def streams(self, count: int, request: Callable[[int], bytes], until: bytes) -> None:
        """Open so many more."""
        with on_cpu(self._rig.plan.load_cpu):
            self._open += [open_stream(self.port, request(number), until) for number in range(count)]

    def weigh(self, count: int, open_them: Callable[[], None]) -> Figures:
        before = settled(self.process, self._rig.servers)
        open_them()
        after = settled(self.process, self._rig.servers)
        return {"kb_each": (after - before) / count / 1e3, "pss_mb": self._rig.pss(self.process) / 1e6}
