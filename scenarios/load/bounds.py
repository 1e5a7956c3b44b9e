"""What is promised of speed and memory, as data: the one place to look for, and to change, a bound.

In: the rows of a load. Out: for each of its bounds the value, and whether it was held. A row with errors holds nothing.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scenarios.load.proxies import SHADOWPROXY
from scenarios.load.results import Rows

HELD, MISSED, UNKNOWN = "HELD", "MISSED", "NOT MEASURED"
Value = Callable[[Rows], float | None]


@dataclass(frozen=True)
class Bound:
    """`value` must be at most `limit`; `aim` is what one would like."""

    load: str
    says: str
    value: Value
    limit: float
    unit: str
    aim: float | None = None

    def judge(self, rows: Rows) -> dict[str, Any]:
        value = self.value(rows)
        verdict = UNKNOWN if value is None else HELD if value <= self.limit else MISSED
        return {"says": self.says, "limit": self.limit, "aim": self.aim, "unit": self.unit, "value": value, "verdict": verdict}


def own(figure: str, at: str) -> Value:
    return lambda rows: rows.figure(SHADOWPROXY, at, figure)


def against(other: str, figure: str, at: str) -> Value:
    return lambda rows: rows.ratio(SHADOWPROXY, other, at, figure)


def grown(other: str, figure: str, few: str, many: str) -> Value:
    """How much worse the ratio is at `many` than at `few`."""

    def value(rows: Rows) -> float | None:
        at_few, at_many = rows.ratio(SHADOWPROXY, other, few, figure), rows.ratio(SHADOWPROXY, other, many, figure)
        return at_many / at_few if at_few and at_many else None

    return value


def over(requests: int, value: Value, at: str) -> Value:
    """The same, of a run that was long enough."""
    return lambda rows: value(rows) if (rows.figure(SHADOWPROXY, at, "requests") or 0) >= requests else None


BOUNDS = (
    Bound("http-json", "CPU per request at 32 connections, of Envoy's", against("envoy", "cpu_us", "32"), 2.0, "x", aim=1.5),
    Bound("http-json", "CPU ratio to Envoy's at 500 connections, over that at 32", grown("envoy", "cpu_us", "32", "500"), 1.0, "x"),
    Bound("http-json", "p99 at 500 connections", own("p99_ms", "500"), 100, "ms"),
    Bound("http-json", "p99 at 500 connections, of Envoy's", against("envoy", "p99_ms", "500"), 3.0, "x"),
    Bound("http-sse", "CPU per request at 32 connections, of Envoy's", against("envoy", "cpu_us", "32"), 2.2, "x"),
    Bound("http-sse", "p99 at 500 connections", own("p99_ms", "500"), 100, "ms"),
    Bound("http-sse", "p99 at 500 connections, of Envoy's", against("envoy", "p99_ms", "500"), 3.0, "x"),
    Bound("http-stdio", "CPU per request at 32 connections, of npm mcp-proxy's", against("npm-mcp-proxy", "cpu_us", "32"), 0.15, "x", aim=0.1),
    Bound("http-stdio", "p99 at 500 connections", own("p99_ms", "500"), 100, "ms"),
    Bound("latency", "added p50 of a lone client", own("added_p50_ms", "1"), 0.3, "ms"),
    Bound("start", "start to first answer, HTTP behind", own("seconds", "HTTP"), 0.5, "s"),
    Bound("start", "start to first answer, stdio behind", own("seconds", "stdio"), 0.5, "s"),
    *(Bound("memory", f"an idle session, of {count}", own("kb_each", f"session, {count}"), 30, "KB") for count in (1000, 5000)),
    *(Bound("memory", f"an idle GET stream, of {count}", own("kb_each", f"GET stream, {count}"), 50, "KB") for count in (1000, 5000)),
    *(Bound("memory", f"an idle subscriptions/listen, of {count}", own("kb_each", f"listen stream, {count}"), 50, "KB") for count in (1000, 5000)),
    Bound("flat", "growth over a million requests, HTTP behind", over(1_000_000, own("growth_kb", "HTTP"), "HTTP"), 1000, "KB"),
    Bound("flat", "growth over a million requests, stdio behind", over(1_000_000, own("growth_kb", "stdio"), "stdio"), 1000, "KB"),
)


def judge(load: str, rows: Rows) -> list[dict[str, Any]]:
    """The verdicts on one load."""
    return [bound.judge(rows) for bound in BOUNDS if bound.load == load]
