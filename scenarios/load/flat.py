"""Memory over very many requests: the proxy's PSS (what no file backs of it) every so often, and how much it grew after the first tenth.

The load is wrk's, in long windows, until the requests are done; how many that are is `--requests`. Each window has new connections: with
short ones, the allocator's finding its level over many hundreds of connections (about 1 MB) would be taken for growth by requests.
"""
from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

from scenarios.load import wrk
from scenarios.load.client import open_sessions
from scenarios.load.load import CURVE, Column, say, take
from scenarios.load.plan import BenchError
from scenarios.load.processes import settled
from scenarios.load.proxies import PROXIES, SHADOWPROXY
from scenarios.load.results import Figures, Rows
from scenarios.load.rig import Rig

CONNECTIONS = 32
WINDOW = 15.0
LONGEST = 1200.0


class Flat:
    """The long form."""

    name = "flat"
    title = "Memory over a million requests"
    about = f"{CONNECTIONS} connections. PSS, as far as no file backs it; growth is from the first tenth of the requests to the last."
    at = "behind it"
    proxies: ClassVar = {SHADOWPROXY: PROXIES[SHADOWPROXY]}
    columns = (Column("requests", "requests"), Column("MB after the first tenth", "first_mb", 1), Column("at the end", "last_mb", 1),
               Column("growth KB", "growth_kb"))  # fmt: skip

    def run(self, rig: Rig) -> Rows:
        rows = Rows()
        for behind in ("HTTP", "stdio"):
            take(rows.row(SHADOWPROXY, behind), partial(_measure, rig, behind))
        return rows


def _measure(rig: Rig, behind: str) -> Figures:
    wanted, done, errors = rig.plan.requests, 0, 0
    weights: dict[int, int] = {}
    deadline = time.monotonic() + LONGEST
    with ExitStack() as stack:
        place = rig.place(stack.enter_context(rig.http_server()) if behind == "HTTP" else 0)
        process = stack.enter_context(rig.proxy(PROXIES[SHADOWPROXY], place))
        sessions = open_sessions(place.port, rig.plan.sessions, process)
        while done < wanted:
            if time.monotonic() > deadline:
                raise BenchError(f"{done} of {wanted} requests within {LONGEST:g} s")
            report = wrk.run(rig.plan, place.port, CONNECTIONS, WINDOW, sessions)
            done, errors = done + report.requests, errors + report.errors
            weights[done] = settled(process, rig.servers)
            say(f"  {behind}: {weights[done] / 1e6:.1f} MB after {done} requests")
    first = next(weight for count, weight in weights.items() if count >= wanted / 10)
    last = weights[done]
    curve = {f"{CURVE}{count}": weight / 1e6 for count, weight in weights.items()}
    return {"requests": done, "errors": errors, "first_mb": first / 1e6, "last_mb": last / 1e6, "growth_kb": (last - first) / 1e3, **curve}
