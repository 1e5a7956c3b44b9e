"""What a run is to do: the options, read once.

In: words. Out: a frozen `Plan`, or the usual exit of argparse with a line that says what is wrong.
"""
from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scenarios.load.peers import PEERS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_SETTINGS = ("rows", "connections", "counts", "secs", "repeat", "bytes", "argument", "sessions", "requests", "tape_mb")
TAPE_MB, LONG_TAPE_MB = 100, 2000
PROXY = (sys.executable, "-m", "shadowproxy")


class BenchError(Exception):
    """A figure that could not be taken, or a run that cannot begin; the message says why, and the mend."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run."""

    loads: tuple[str, ...]
    rows: tuple[str, ...]  # empty: all of a load's
    connections: tuple[int, ...]
    counts: tuple[int, ...]
    secs: float
    repeat: int
    bytes: int
    argument: int
    sessions: int
    requests: int
    tape_mb: int
    load_cpu: int
    proxy_cpu: int
    peers: Path
    proxy: tuple[str, ...]
    results: Path
    page: Path
    strict: bool
    changed: tuple[str, ...]  # the options that matter to figures and are not as usual, as words

    def command(self, load: str) -> str:
        """What makes these figures again, wherever the project and the peers are."""
        return shlex.join(["nox", "-s", "bench", "--", load, *self.changed])

    def settings(self) -> dict[str, object]:
        """What matters to figures, in full."""
        return {name: getattr(self, name) for name in (*_SETTINGS, "load_cpu", "proxy_cpu")}

    def wants(self, row: str) -> bool:
        return not self.rows or row in self.rows


def parse(words: Sequence[str], loads: dict[str, str], slow: Sequence[str]) -> Plan:
    """`loads`: names and what they are; those in `slow` run when they are named, or with --long."""
    listing = "\n".join(f"  {name:12} {title}{' (only with --long, or by name)' if name in slow else ''}" for name, title in loads.items())
    parser = argparse.ArgumentParser(prog="bench.py", description="Benchmarks beside other proxies.", epilog=f"loads:\n{listing}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    _add_options(parser)
    a = parser.parse_args(words)
    if a.long and a.tape_mb == TAPE_MB:
        a.tape_mb = LONG_TAPE_MB
    if unknown := [name for name in a.loads if name not in loads]:
        parser.error(f"no load {unknown[0]!r}; there are {', '.join(loads)}")
    if len(a.cpus) != 2 or not set(a.cpus) <= (available := os.sched_getaffinity(0)):
        parser.error(f"--cpus takes two CPUs, LOAD,PROXY, of {sorted(available)}: the proxy needs one of its own")
    out = a.out.resolve() if a.out else None
    return Plan(
        loads=tuple(a.loads) or tuple(name for name in loads if a.long or name not in slow), rows=tuple(a.rows), connections=tuple(a.connections),
        counts=tuple(a.counts), secs=a.secs, repeat=a.repeat, bytes=a.bytes, argument=a.argument, sessions=a.sessions, requests=a.requests, tape_mb=a.tape_mb,
        load_cpu=a.cpus[0], proxy_cpu=a.cpus[1], peers=a.peers.resolve(), proxy=tuple(shlex.split(a.proxy)) if a.proxy else PROXY,
        results=out or HERE / "results", page=out / "speed.md" if out else ROOT / "docs" / "speed.md", strict=a.strict,
        changed=tuple(word for name in (*_SETTINGS, "cpus") if (value := getattr(a, name)) != parser.get_default(name) for word in (f"--{name.replace('_', '-')}", _text(value))),
    )  # fmt: skip


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("loads", nargs="*", metavar="LOAD", help="which loads; without any, all but the long ones")
    add("--rows", type=_names, default=(), metavar="A,B", help="only these proxies (shadowproxy, envoy, …)")
    add("--connections", type=_numbers, default=(1, 32, 500), metavar="1,32,500", help="connections, or requests in flight on a pipe")
    add("--counts", type=_numbers, default=(1000, 5000), metavar="1000,5000", help="how many idle sessions and streams")
    add("--secs", type=_seconds, default=4.0, help="of one measurement, after its warm-up (default %(default)g)")
    add("--repeat", type=_count, default=3, help="rounds; the median is reported (default %(default)s)")
    add("--bytes", type=_count, default=200, help="of a result (default %(default)s)")
    add("--argument", type=_count, default=60, help="bytes of a request's argument (default %(default)s)")
    add("--sessions", type=_count, default=4, help="that the connections share (default %(default)s)")
    add("--requests", type=_count, default=1_000_000, help="of the long form (default %(default)s)")
    add("--tape-mb", type=_count, default=TAPE_MB, help=f"size of the tapes that are measured (default %(default)s; with --long {LONG_TAPE_MB})")
    add("--cpus", type=_numbers, default=(0, 1), metavar="LOAD,PROXY", help="one for load and server, one for the proxy (default 0,1)")
    add("--peers", type=Path, default=PEERS, metavar="DIR", help="where peers.py has installed (default .peers)")
    add("--proxy", metavar="CMD", help="the shadowproxy to measure (default: python -m shadowproxy)")
    add("--out", type=Path, metavar="DIR", help="put results and page there, for a trial")
    add("--long", action="store_true", help=f"the long loads, too, and tapes of {LONG_TAPE_MB} MB")
    add("--strict", action="store_true", help="exit code 1 if a bound was missed or not measured")


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, not {text!r}")
    return tuple(int(part) for part in text.split(","))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"must be seconds from 1 to 600, not {text!r}")
    return seconds
