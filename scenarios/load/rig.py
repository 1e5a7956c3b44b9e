"""Where a measurement takes place: compiled programs, a folder, and the processes of the moment.

In: a plan. Out: servers that listen and proxies that run, each until its `with` block is left, whatever happens inside.
"""
from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scenarios.load.client import await_port, free_port
from scenarios.load.plan import HERE, BenchError, Plan
from scenarios.load.processes import Process
from scenarios.load.proxies import Place, Proxy

PROGRAMS = ("upstream_http", "upstream_stdio", "pipe_load")
TOOLS = {"gcc": "gcc", "wrk": "wrk"}
"""Commands that every run needs, and Debian's packages for them."""


def missing_tools() -> list[str]:
    return [f"{tool} is not installed: apt-get install {package}" for tool, package in TOOLS.items() if shutil.which(tool) is None]


class Rig:
    """`folder` is for whatever the processes write."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        for name in PROGRAMS:
            made = subprocess.run(["gcc", "-O2", "-o", str(folder / name), str(HERE / "programs" / f"{name}.c")], capture_output=True, text=True, check=False)
            if made.returncode:
                raise BenchError(f"gcc cannot compile {name}.c (Debian: apt-get install gcc libc6-dev): {made.stderr.strip()[-400:]}")
        self.servers = frozenset(str((folder / name).resolve()) for name in PROGRAMS)
        """Programs that stand beside a proxy and are no part of it, even as its children."""

    @property
    def stdio_server(self) -> tuple[str, ...]:
        return str(self.folder / "upstream_stdio"), str(self.plan.bytes)

    @contextmanager
    def running(self, command: Sequence[str], cpu: int, *, pipes: bool = False) -> Iterator[Process]:
        """That command, until the block is left."""
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".log", delete=False) as log:
            pass
        process = Process(command, cpu, Path(log.name), pipes=pipes)
        try:
            yield process
        finally:
            process.stop()

    @contextmanager
    def http_server(self, kind: str = "json") -> Iterator[int]:
        """The HTTP server (json or sse) on the load's CPU; its port."""
        port = free_port()
        with self.running([str(self.folder / "upstream_http"), str(port), str(self.plan.bytes), kind], self.plan.load_cpu) as process:
            await_port(port, process)
            yield port

    def place(self, upstream: int, settings: str = "") -> Place:
        """For a proxy in front of that port, or of the stdio server if it is 0."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return Place(self.plan, folder, free_port(), upstream, self.stdio_server, settings)

    @contextmanager
    def proxy(self, proxy: Proxy, place: Place) -> Iterator[Process]:
        """An HTTP proxy on its CPU, as soon as it listens."""
        with self.running(proxy.start(place), self.plan.proxy_cpu) as process:
            await_port(place.port, process)
            yield process

    def cpu_us(self, process: Process) -> float:
        """What the proxy has used so far."""
        return process.cpu_seconds(self.servers) * 1e6

    def pss(self, process: Process) -> int:
        return process.pss(self.servers)
