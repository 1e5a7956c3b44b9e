"""The long forms: `nox -s long -- --exchanges 100000 --leases 1000000`, or `python tests/crowd/long.py` with the same.

In: how many exchanges, in equal shares over all kinds of upstreams, and how many leases. Out: how many were done, and what came of them. A finding is told
with its seed, which `--kind NAME --seed N --runs 1` runs again; the status is 1 if there is any. Seeds count up from `--seed`, one for each crowd.
"""
from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from crowd.clients import NO_SESSION, crowd
from crowd.kinds import KINDS, Kind
from crowd.leases import lend
from crowd.plans import draw
from crowd.seeded import by_seed

SESSIONS, STEPS = 6, 8
"""Of a crowd, at most."""
LEASES = 5000
"""Of one seed."""
FINDINGS = 5
"""After so many of one kind the rest of its share is better left."""


def meet(kind: Kind, seed: int) -> Awaitable[Counter[str]]:
    """The crowd of this seed."""
    return crowd(kind, draw(Random(seed), kind.era == "modern", SESSIONS, STEPS))


def run(name: str, one: Callable[[int], Awaitable[Counter[str]]], enough: Callable[[Counter[str], int], bool], seed: int) -> int:
    """One seed after the other until it is enough; the number of findings."""
    ends, findings, first = Counter[str](), 0, seed
    while not enough(ends, seed - first) and findings < FINDINGS:
        try:
            ends += by_seed(seed, partial(one, seed))
        except Exception as error:
            findings += 1
            print(f"FINDING in {name}, seed {seed}")
            for leaf in _leaves(error):
                traceback.print_exception(leaf, limit=-6, file=sys.stdout)
        seed += 1
    told = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    print(f"{name}: {_done(ends)} done with seeds {first} to {seed - 1}, {findings} findings: {told}", flush=True)
    return findings


def _done(ends: Counter[str]) -> int:
    return ends.total() - ends[NO_SESSION]


def _leaves(error: BaseException) -> list[BaseException]:
    return [leaf for one in error.exceptions for leaf in _leaves(one)] if isinstance(error, BaseExceptionGroup) else [error]


def main() -> int:
    parser = argparse.ArgumentParser(description="Crowds of clients before every kind of upstream, and a pool, for as long as one likes.")
    parser.add_argument("--exchanges", type=int, default=100_000, help="for all kinds of upstreams together")
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=[str(kind) for kind in KINDS], action="append", help="only this one; may be given more than once")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--runs", type=int, help="so many seeds, instead of so many exchanges")
    options = parser.parse_args()
    logging.getLogger("shadowproxy").addHandler(logging.NullHandler())  # servers die here all the time
    kinds = [kind for kind in KINDS if str(kind) in (options.kind or [str(kind)])]
    findings = 0
    for kind in kinds:
        findings += run(f"{kind}", partial(meet, kind), lambda ends, runs: runs >= options.runs if options.runs else _done(ends) >= options.exchanges / len(kinds), options.seed)
    if options.leases and not options.kind:
        findings += run("leases", lambda seed: lend(seed, min(LEASES, options.leases)), lambda ends, _: ends.total() >= options.leases, options.seed)
    return findings > 0


if __name__ == "__main__":
    sys.exit(main())
