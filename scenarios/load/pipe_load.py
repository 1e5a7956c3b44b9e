"""stdio in front, HTTP behind: one pipe with so many requests in flight, a new one for each that is answered.

In the middle is `programs/pipe_load.c`, which holds the proxy's standard input and output while the window lasts.
"""
from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import Any

from scenarios.load.client import INITIALIZE, INITIALIZED, START
from scenarios.load.load import Column, take
from scenarios.load.pipes import ask, tell
from scenarios.load.plan import BenchError
from scenarios.load.processes import Process, on_cpu
from scenarios.load.proxies import PIPES, SHADOWPROXY
from scenarios.load.results import Figures, Rows
from scenarios.load.rig import Rig

WARM_UP = 2.0
"""Seconds; the peers on Node compile meanwhile."""
_PATIENCE = 30


class PipeLoad:
    """stdio -> HTTP."""

    name = "stdio-http"
    title = "stdio → HTTP, JSON"
    about = "One pipe, a closed loop of concurrent requests over it; each proxy asks the same HTTP server."
    at = "in flight"
    proxies = PIPES
    columns = (Column("CPU µs/request", "cpu_us", 0, "pypi-mcp-proxy"), Column("p50 ms", "p50_ms", 2), Column("p99 ms", "p99_ms", 1, "pypi-mcp-proxy"),
               Column("requests/s", "per_second"), Column("PSS MB", "pss_mb"))  # fmt: skip
    order = (SHADOWPROXY, "pypi-mcp-proxy", "supergateway")

    def run(self, rig: Rig) -> Rows:
        rows = Rows()
        for _ in range(rig.plan.repeat):
            for in_flight in rig.plan.connections:
                for name in filter(rig.plan.wants, self.order):
                    take(rows.row(name, str(in_flight)), partial(self._measure, rig, name, in_flight))
        return rows

    def _measure(self, rig: Rig, name: str, in_flight: int) -> Figures:
        with rig.http_server() as port, rig.running(PIPES[name].start(rig.place(port)), rig.plan.proxy_cpu, pipes=True) as process:
            answer = ask(process, INITIALIZE, START)
            if "result" not in answer:
                raise BenchError(f"initialize was answered with {answer}")
            tell(process, INITIALIZED)
            warm = self._load(rig, process, in_flight, WARM_UP, 1)
            before = rig.cpu_us(process)
            report = self._load(rig, process, in_flight, rig.plan.secs, warm["next_id"])
            used = rig.cpu_us(process) - before
            return {"cpu_us": used / report["requests"], "p50_ms": report["p50_ms"], "p99_ms": report["p99_ms"],
                    "per_second": report["requests"] / report["seconds"], "errors": float(report["errors"]), "pss_mb": rig.pss(process) / 1e6}  # fmt: skip

    def _load(self, rig: Rig, process: Process, in_flight: int, secs: float, first: int) -> dict[str, Any]:
        command = [str(rig.folder / "pipe_load"), str(in_flight), f"{secs:g}", str(rig.plan.argument), str(first)]
        with on_cpu(rig.plan.load_cpu):
            done = subprocess.run(command, stdin=process.popen.stdout, stdout=process.popen.stdin, stderr=subprocess.PIPE, check=False,
                                  timeout=secs + _PATIENCE)  # fmt: skip
        try:
            report: dict[str, Any] = json.loads(done.stderr)
        except ValueError:
            raise BenchError(f"pipe_load ended with {done.returncode}: {done.stderr[-300:]!r}") from None
        if "failed" in report or not report["requests"]:
            raise BenchError(f"{report.get('failed', 'no answers')} after {report['requests']} answers; {process.words()}")
        return report
