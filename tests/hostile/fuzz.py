"""The targets for as long as one likes: `nox -s fuzz -- --minutes 10`, or `python tests/hostile/fuzz.py --minutes 10 --target json_rpc`.

Each target gets an equal share of the time. `--engine atheris` lets the coverage of our code guide what is tried, for the decoders that are plain functions
(it needs `pip install --group fuzz`, and has wheels for few Pythons). A finding is told with the seed that leads to it, which `--seed` runs again; the status is 1 if there is any.
"""
from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from hostile.guided import DECODERS, run_guided
from hostile.seeds import cuts, mutated
from hostile.targets import TARGETS

FINDINGS = 5
"""After so many of one target the rest of its time is better spent elsewhere."""


def execute(name: str, seed: int) -> bool:
    """Whether the promises held for the input that this seed makes; what broke is told."""
    random = Random(seed)
    data = mutated(name, random)
    try:
        TARGETS[name](data, cuts(random))
    except Exception:
        print(f"FINDING in {name}: --target {name} --seed {seed}\n  {data[:2000]!r}\n{traceback.format_exc(limit=-6)}", flush=True)
        return False
    return True


def run(name: str, seconds: float) -> int:
    """Run one target; the number of findings."""
    began, executions, findings = time.monotonic(), 0, 0
    while time.monotonic() - began < seconds and findings < FINDINGS:
        executions += 1
        findings += not execute(name, secrets.randbits(64))
    print(f"{name}: {executions} executions in {time.monotonic() - began:.0f} s, {findings} findings", flush=True)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the parsers, the HTTP server and the HTTP client.")
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together")
    parser.add_argument("--target", choices=[*TARGETS], action="append", help="only this one; may be given more than once")
    parser.add_argument("--seed", type=int, help="only the input that this seed makes")
    parser.add_argument("--engine", choices=["mutations", "atheris"], default="mutations")
    options = parser.parse_args()
    names = options.target or ([*TARGETS] if options.engine == "mutations" else [*DECODERS])
    if options.engine == "atheris" and not {*names} <= {*DECODERS}:
        parser.error(f"atheris is for {', '.join(DECODERS)}")
    if options.seed is not None:
        results = [execute(name, options.seed) for name in names]  # every one of them, whatever the others say
        return not all(results)
    one = run if options.engine == "mutations" else run_guided
    return sum(one(name, 60 * options.minutes / len(names)) for name in names) > 0


if __name__ == "__main__":
    sys.exit(main())
