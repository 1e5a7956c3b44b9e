"""From the start of a proxy to its first answer, as a client sees it that tries again and again."""
from __future__ import annotations

import http.client
import time
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

from scenarios.load.client import START, Client
from scenarios.load.load import Column, take
from scenarios.load.plan import BenchError
from scenarios.load.processes import on_cpu
from scenarios.load.proxies import PROXIES, SHADOWPROXY
from scenarios.load.results import Figures, Row, Rows
from scenarios.load.rig import Rig

TRIES = 3
"""For each of the plan's rounds."""
_PAUSE = 0.002


class Startup:
    """Each proxy with what it is made for behind it."""

    name = "start"
    title = "Start to first answer"
    about = "From the start of the process until `initialize` is answered through it; a first start, which reads the disk, is left out."
    at = "behind it"
    order = ((SHADOWPROXY, "HTTP"), ("nginx", "HTTP"), ("envoy", "HTTP"), (SHADOWPROXY, "stdio"), ("npm-mcp-proxy", "stdio"), ("pypi-mcp-proxy", "stdio"))
    proxies: ClassVar = {name: PROXIES[name] for name, _ in order}
    columns = (Column("seconds", "seconds", 2), Column("CPU seconds", "cpu_seconds", 2))

    def run(self, rig: Rig) -> Rows:
        rows = Rows()
        wanted = [(name, behind) for name, behind in self.order if rig.plan.wants(name)]
        for name, behind in wanted:
            take(Row(name, behind + " (first)"), partial(_measure, rig, name, behind))
        for _ in range(rig.plan.repeat * TRIES):
            for name, behind in wanted:
                take(rows.row(name, behind), partial(_measure, rig, name, behind))
        return rows


def _measure(rig: Rig, name: str, behind: str) -> Figures:
    with ExitStack() as stack:
        place = rig.place(stack.enter_context(rig.http_server()) if behind == "HTTP" else 0)
        command = PROXIES[name].start(place)
        start = time.perf_counter()
        process = stack.enter_context(rig.running(command, rig.plan.proxy_cpu))
        with on_cpu(rig.plan.load_cpu):
            while not _answers(place.port):
                if process.ended or time.perf_counter() > start + START:
                    raise BenchError(f"no answer: {process.words()}")
                time.sleep(_PAUSE)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": rig.cpu_us(process) / 1e6}


def _answers(port: int) -> bool:
    client = Client(port)
    try:
        client.initialize()
    except (OSError, http.client.HTTPException, BenchError):
        return False
    finally:
        client.close()
    return True
