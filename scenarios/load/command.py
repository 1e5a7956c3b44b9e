"""One run of the benchmarks: words -> loads, one after the other -> results, page, verdicts, exit code.

Exit codes: 0; 1 with --strict if a bound was missed or could not be measured; 2 if the run cannot begin; 130 if it was cut short.
"""
from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scenarios.load import bounds, machine, results, tables
from scenarios.load.catalogue import LOADS, LONG
from scenarios.load.load import Load, say
from scenarios.load.plan import BenchError, Plan, parse
from scenarios.load.proxies import missing
from scenarios.load.results import Result
from scenarios.load.rig import Rig, missing_tools

FILES = 16384
"""Descriptors that the largest load needs: two for each of 5000 streams, and room."""


def main(words: Sequence[str]) -> int:
    """Run what `words` ask for."""
    plan = parse(words, {name: load.title for name, load in LOADS.items()}, LONG)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _prepare(plan)
        with tempfile.TemporaryDirectory(prefix="shadowproxy-bench-") as folder:
            rig = Rig(plan, Path(folder))
            done = {name: _run(rig, LOADS[name]) for name in plan.loads}
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return _conclude(plan, done)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _prepare(plan: Plan) -> None:
    """Whatever is missing is told at once, before anything runs."""
    proxies = {name: proxy for load in plan.loads for name, proxy in LOADS[load].proxies.items() if plan.wants(name)}
    if lacking := [*missing_tools(), *missing(plan, proxies)]:
        raise BenchError("; ".join(dict.fromkeys(lacking)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if "memory" in plan.loads and hard < FILES:
        raise BenchError(f"the load memory needs {FILES} open files, and this shell allows {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))


def _run(rig: Rig, load: Load) -> Result | None:
    """None: it could not be run, which is told, and the other loads go on."""
    plan = rig.plan
    say(f"{load.name}: {load.title}")
    result = Result(load.name, plan.command(load.name), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), machine.commit(), plan.settings(), machine.facts(),
                    machine.versions(plan), results.Rows())  # fmt: skip
    try:
        result.rows = load.run(rig)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        say(f"  FAILED {' '.join(str(error).split())}")
        return None
    result.bounds = bounds.judge(load.name, result.rows)
    say(f"  -> {result.write(plan.results)}")
    return result


def _conclude(plan: Plan, done: Mapping[str, Result | None]) -> int:
    known = [(load, result) for name, load in LOADS.items() if (result := results.read(plan.results, name)) is not None]
    tables.write(plan.page, known)
    say(f"  -> {plan.page}\n")
    verdicts = [(name, bound) for name, result in done.items() for bound in (result.bounds if result else bounds.judge(name, results.Rows()))]
    for load, bound in verdicts:
        say(f"{bound['verdict']:12}  {load}: {bound['says']}: {tables.quantity(bound, 'value')}, at most {tables.quantity(bound, 'limit')}")
    return 1 if plan.strict and any(bound["verdict"] != bounds.HELD for _, bound in verdicts) else 0
