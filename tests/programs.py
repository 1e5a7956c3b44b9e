"""Programs under test: started in a session of their own, known with all their offspring by a mark in their environment, gone at the end.

In: a command line. Out: a `Program`. Its stderr goes to a file, so that nobody need read it and its words can be looked at afterwards.
Waiting is always for a condition with a deadline: `until` inside Trio, `await_now` outside.
"""
from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import trio

ROOT = Path(__file__).parents[1]
SHADOWPROXY: Sequence[str] = (sys.executable, "-m", "shadowproxy")
PUPPET: Sequence[str] = (sys.executable, "-IS", str(ROOT / "tests" / "real" / "puppet.py"))
FIXTURE: Sequence[str] = (sys.executable, str(ROOT / "tests" / "conformance" / "fixture_server.py"))
PATIENCE = 20.0
"""Seconds for what takes a fraction of one on an idle machine."""
_MARK = "SHADOWPROXY_TEST_PROGRAM"


class Program:
    """A running process and whatever descends from it. `with Program(command) as program` kills what is left of them at the end."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: int | IO[bytes] = subprocess.DEVNULL,
                 stdout: int | IO[bytes] | None = None) -> None:  # fmt: skip
        self._mark = uuid.uuid4().hex
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by `close`
        self.process = subprocess.Popen(
            list(command), cwd=ROOT, env={**os.environ, **(env or {}), _MARK: self._mark}, stdin=stdin,
            stdout=self._words if stdout is None else stdout, stderr=self._words, start_new_session=True)  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill all that is left, and reap what is ours."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._words.close()

    @property
    def words(self) -> str:
        """What it has said so far, on stderr and, unless that was asked for, on stdout."""
        return os.pread(self._words.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    @property
    def url(self) -> str:
        """The address that it announces, as soon as it does."""
        await_now(lambda: re.search(r"http://\S+?/mcp\b", self.words) or self.ended)
        found = re.search(r"http://\S+?/mcp\b", self.words)
        assert found is not None, f"it announced no address: {self.words}"
        return found[0]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self.process.poll()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def family(self) -> set[int]:
        """The living of its offspring and itself, wherever they have got to: sessions and groups of their own included. No zombies."""
        wanted = f"{_MARK}={self._mark}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
        return found

    async def gone(self, within: float) -> float:
        """Wait until the whole family is gone, `within` seconds; how long that took."""
        started = trio.current_time()
        await until(lambda: self.ended and not self.family(), within)
        return trio.current_time() - started


def free_port() -> int:
    """A port for a program that cannot tell which one it took."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


async def until(condition: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait, in Trio, until `condition()` is true; fail after `within` seconds."""
    deadline = trio.current_time() + within
    while not condition():
        assert trio.current_time() < deadline, f"not within {within:g} s"
        await trio.sleep(0.01)


def await_now(condition: Callable[[], object], within: float = PATIENCE) -> None:
    """The same outside Trio, for fixtures that outlive a test."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        time.sleep(0.01)
