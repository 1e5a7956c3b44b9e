"""Families of processes for tests: stand-ins that refuse to go, and ways to see who is left.

Every process of a test has the test's own marker on its command line, so survivors are counted by looking for it in /proc.
"""
from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

# A leader and a grandchild, which holds all three pipes and listens to nothing. "ready" is said when both are what they should be.
FAMILY = r"""
import os, signal, sys, time
marker, *traits = sys.argv[1:]
def forever():
    while True: time.sleep(3600)
if "deaf" in traits: signal.signal(signal.SIGTERM, signal.SIG_IGN)
r, w = os.pipe()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "regrouped" in traits: os.setpgid(0, 0)
    if "detached" in traits or "daemon" in traits: os.setsid()
    if "daemon" in traits:
        for fd in 0, 1, 2: os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    os.write(w, b".")
    forever()
os.read(r, 1)
os.write(2, b"last words")
os.write(1, b"ready\n" + b"x" * 60000 * ("wordy" in traits))
if "exits" in traits: os._exit(7)
if "ignores" in traits: forever()
while os.read(0, 4096): pass
"""

# A proxy with two such children, or one that spawns for ever; it says the pid of its warden and which children it has.
PROXY = r"""
import os, signal, sys, trio
from functools import partial
from shadowproxy.upstream.child import run_child
from shadowproxy.upstream.warden import Warden
family, marker, *traits = sys.argv[1:]
async def main():
    with Warden() as warden:
        async with trio.open_nursery() as children:
            async def start():
                child = await children.start(partial(
                    run_child, [sys.executable, "-ISc", family, marker, *traits], env={}, cwd=None, grace=30, warden=warden))
                return child, "spawning" in traits or await child.stdout.receive_some(6)
            kept = [await start()]
            if "warden-killed" in traits:
                os.kill(warden.pid, signal.SIGKILL)
                os.waitid(os.P_PID, warden.pid, os.WEXITED | os.WNOWAIT)
            print(warden.pid, flush=True)
            while "spawning" in traits: kept.append(await start())
            kept.append(await start())
            print(warden.pid, flush=True)
trio.run(main)
"""


def python(program: str, *args: str) -> list[str]:
    """A command that runs it, with nothing of the environment."""
    return [sys.executable, "-ISc", program, *args]


@contextmanager
def nobody_left() -> Iterator[str]:
    """A marker for all processes of a test. Whoever still bears it at the end is killed, and the test fails."""
    marker = uuid.uuid4().hex
    yield marker
    survivors = family(marker)
    for pid in survivors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert survivors == set()


def family(marker: str) -> set[int]:
    """The living who have `marker` on their command line: a zombie has none any more."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found


def children() -> set[int]:
    """Our own, zombies included."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for it; TooSlowError if it does not come."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)
