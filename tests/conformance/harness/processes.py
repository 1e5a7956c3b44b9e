"""Programs in process groups of their own, so that nothing they start outlives the block that started them.

In come a command and a file for its output, out goes the running process. Whoever enters `running` owns it; leaving
the block, for whatever reason, ends the whole group.
"""

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

GRACE: Final = 5.0  # a proxy's own stages of shutdown, when nothing is in flight any more
START: Final = 20.0  # importing an SDK on a busy machine takes seconds
_TAIL: Final = 1500


class BrokenRunError(Exception):
    """A program of the run did not start, did not end or could not be used; the text says which and why."""


def tail(log: Path) -> str:
    """The last lines a program has written."""
    return log.read_text(errors="replace")[-_TAIL:].strip() or "(it wrote nothing)"


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the group is gone, which is all that is wanted
        os.killpg(process.pid, number)


async def _end(process: trio.Process) -> None:
    with trio.move_on_after(GRACE):
        _signal_group(process, signal.SIGTERM)
        await process.wait()
    # The leader may be gone and have left others of its group behind.
    _signal_group(process, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[trio.Process]:
    """Run a command as long as the block lasts; what it writes is appended to the log."""
    with log.open("ab") as sink:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    try:
        yield process
    finally:
        # Nothing survives SIGKILL for long: the deadline is there for a kernel in trouble.
        with trio.move_on_after(2 * GRACE, shield=True):
            await _end(process)


async def finish(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run a command to its end and return its exit code; the caller sets the deadline."""
    async with running(command, log, environment) as process:
        return await process.wait()


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def listening(port: int, process: trio.Process, log: Path) -> None:
    """Return as soon as a process accepts connections on a port."""
    with trio.move_on_after(START):
        while True:
            with suppress(OSError):
                async with await trio.open_tcp_stream("127.0.0.1", port):
                    return
            await trio.sleep(0.05)
            if process.poll() is not None:
                break
    state = "still runs" if process.returncode is None else f"has ended with {process.returncode}"
    raise BrokenRunError(f"{log.stem} does not listen on port {port} and {state}:\n{tail(log)}")
