"""wrk as a closed loop of tools/call: what is sent, and what its report says.

In: a port, connections, seconds. Out: requests, requests per second, p50 and p99, errors.
"""
from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from scenarios.load.plan import HERE, BenchError, Plan
from scenarios.load.processes import on_cpu

_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_TIMEOUT = 10
_ids = itertools.count(1_000_000_000, 100_000_000)
"""Where the ids of a run begin: none is used twice."""


@dataclass(frozen=True)
class Report:
    """What came of it. Latencies are corrected by wrk for the requests that a slow answer kept from being sent."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def run(plan: Plan, port: int, connections: int, secs: float, sessions: Sequence[str]) -> Report:
    """Put the load on. Raises `BenchError` if nothing was answered."""
    seconds = max(1, round(secs))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{_TIMEOUT}s", "--latency", "-s", str(HERE / "programs" / "calls.lua"),
               f"http://127.0.0.1:{port}/mcp"]  # fmt: skip
    environment = {**os.environ, "SESSIONS": ",".join(filter(None, sessions)), "ARGUMENT_BYTES": str(plan.argument), "FIRST_ID": str(next(_ids))}
    with on_cpu(plan.load_cpu):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds + 3 * _TIMEOUT)
    if done.returncode:
        raise BenchError(f"wrk: {(done.stderr or done.stdout).strip()[-300:]}")
    return read(done.stdout)


def read(text: str) -> Report:
    """Understand wrk's report."""
    requests, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    percentiles = re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    latency = {percent: float(value) * _MILLISECONDS[unit] for percent, value, unit in percentiles}
    if requests is None or rate is None:
        raise BenchError(f"wrk says what is not understood: {' '.join(text.split())[-300:]}")
    if not int(requests[1]):
        raise BenchError("no request was answered while the window lasted")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.*)", text)
    errors = (int(refused[1]) if refused else 0) + sum(map(int, re.findall(r"\d+", broken[1])) if broken else ())
    return Report(int(requests[1]), float(rate[1]), latency["50"], latency["99"], errors)
