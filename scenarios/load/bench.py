"""The benchmarks: what a request costs, how long it takes, what memory is held, beside other proxies in the same run.

    python scenarios/load/bench.py [LOAD...] [--secs 4] [--repeat 3] [--connections 1,32,500] [--long] [--strict] …
    nox -s bench -- [the same]

In: a machine with two CPUs, gcc, wrk and nginx; the peers that `peers.py` installs. Out: `results/LOAD.json` for each load, and the table
in docs/speed.md, which is made from all results that are there. `--help` tells the rest. The parts are modules beside this file.
"""
from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # so that the parts are found by their whole names, wherever this is run from
    from scenarios.load.command import main

    sys.exit(main(sys.argv[1:]))
