"""HTTP in front: wrk's connections, all calling as fast as they are answered.

Each sample has a fresh proxy, a warm-up, and then the window whose CPU time and latencies are taken. Before and after it a
single request must be answered rightly.
"""
from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from scenarios.load import wrk
from scenarios.load.client import check, open_sessions
from scenarios.load.load import Column, take
from scenarios.load.proxies import DIRECT, PROXIES, Proxy
from scenarios.load.results import Figures, Rows
from scenarios.load.rig import Rig

WARM_UP = 2.0
"""Seconds; the peers on Node compile meanwhile."""


@dataclass(frozen=True)
class HttpLoad:
    """`server` is json, sse or stdio; `other` is the proxy to be compared with."""

    name: str
    title: str
    about: str
    server: str
    order: tuple[str, ...]
    other: str
    at = "connections"

    @property
    def proxies(self) -> dict[str, Proxy]:
        return {name: PROXIES[name] for name in self.order if name != DIRECT}

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("CPU µs/request", "cpu_us", 0, self.other), Column("p50 ms", "p50_ms", 2), Column("p99 ms", "p99_ms", 1, self.other),
                Column("requests/s", "per_second"), Column("PSS MB", "pss_mb"))  # fmt: skip

    def run(self, rig: Rig) -> Rows:
        rows = Rows()
        for _ in range(rig.plan.repeat):
            for connections in rig.plan.connections:
                for name in filter(rig.plan.wants, self.order):
                    if name == DIRECT or connections <= PROXIES[name].most:
                        take(rows.row(name, str(connections)), partial(self._measure, rig, name, connections))
        return rows

    def _measure(self, rig: Rig, name: str, connections: int) -> Figures:
        plan = rig.plan
        with ExitStack() as stack:
            port = stack.enter_context(rig.http_server(self.server)) if self.server != "stdio" else 0
            process = None
            if name != DIRECT:
                place = rig.place(port)
                port, process = place.port, stack.enter_context(rig.proxy(PROXIES[name], place))
            sessions = open_sessions(port, plan.sessions, process)
            check(port, sessions[0], plan.bytes, id=1)
            wrk.run(plan, port, connections, WARM_UP, sessions)
            before = rig.cpu_us(process) if process else 0.0
            report = wrk.run(plan, port, connections, plan.secs, sessions)
            figures = {"p50_ms": report.p50_ms, "p99_ms": report.p99_ms, "per_second": report.per_second, "errors": float(report.errors)}
            if process:
                figures = {"cpu_us": (rig.cpu_us(process) - before) / report.requests, **figures, "pss_mb": rig.pss(process) / 1e6}
            check(port, sessions[-1], plan.bytes, id=2)
            return figures
