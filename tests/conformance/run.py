"""Run the official MCP conformance suite against the proxy, and compare each leg with the run without it.

    python tests/conformance/run.py [CACHE] [--leg NAME] [--scenario NAME] [--proxy COMMAND] [--keep]

In come the proxy's command and a folder for the suite (by default `.conformance/`, ignored by git); out go a table, the
page `docs/conformance.md` if all of it was run, and exit code 1 if a leg falls short of what it must hold.
"""

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.lanes import Run, chosen, perform, say
from harness.legs import LEGS
from harness.processes import BrokenRunError
from harness.report import losses, page, short, table

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "conformance.md"
PROXY: Final = shlex.join([sys.executable, "-m", "shadowproxy"])


def conclude(run: Run, options: argparse.Namespace) -> bool:
    """Print the table and what is missing, write the page; return whether all legs hold what they must."""
    found, whole = run.comparable(), options.scenario is None
    say(f"\n{table(found)}\n")
    for line in (*losses(found, whole=whole), *(f"{name}: {words}" for name, words in run.broken.items())):
        say(f"- {line}")
    # The page is about this project's proxy, all of it; a part or a stand-in has no place there.
    if whole and options.leg is None and options.proxy == PROXY and not run.broken:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(found))
    failing = short(found, whole=whole)
    if run.broken:
        say(f"COULD NOT RUN: {', '.join(run.broken)}")
    if failing:
        say(f"FALLS SHORT: {', '.join(failing)}")
    if failing or run.broken:
        return False
    say("All legs hold what they must.")
    return True


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="MCP conformance, through the proxy and without it")
    parser.add_argument("cache", nargs="?", type=Path, default=ROOT / ".conformance", help="where the suite lives")
    parser.add_argument("--leg", choices=LEGS, help="run this leg, and the one it is compared with")
    parser.add_argument("--scenario", help="run one scenario")
    parser.add_argument("--proxy", default=PROXY, help="the proxy's command, if not this project's")
    parser.add_argument("--keep", action="store_true", help="keep the suite's own files and all logs in CACHE/raw")
    return parser.parse_args()


def execute(options: argparse.Namespace, raw: Path) -> bool:
    """Run and conclude, the suite's own files going into a folder."""
    cache = options.cache.resolve()
    run = perform(cache, raw, chosen(options.leg), shlex.split(options.proxy), options.scenario)
    if not run.broken and not any(run.found.values()):
        raise BrokenRunError(f"there is no scenario {options.scenario} for this")
    return conclude(run, options)


def kept(cache: Path) -> Path:
    """An empty folder for the suite's files, in place of an earlier run's."""
    raw = cache.resolve() / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    return raw


def main() -> None:
    """Exit with the verdict."""
    options = arguments()
    try:
        if options.keep:
            held = execute(options, kept(options.cache))
        else:
            with TemporaryDirectory() as folder:
                held = execute(options, Path(folder))
    except BrokenRunError as error:
        sys.exit(str(error))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
