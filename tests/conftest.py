"""What every test has: a census. Tasks, file descriptors, children and threads after a test are those of before it."""
from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

PATIENCE = 2.0
"""Seconds that the kernel and Trio's thread cache get to let go of what is already closed."""


@attrs.frozen
class Census:
    """What this process holds."""

    fds: tuple[str, ...]
    children: tuple[str, ...]
    threads: tuple[str, ...]

    @classmethod
    def take(cls) -> Census:
        return cls(_fds(), _children(), tuple(sorted(t.name for t in threading.enumerate() if not t.name.startswith("Trio thread"))))


def _fds() -> tuple[str, ...]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # the one that listed them
    return tuple(sorted(name for name in found if not name.startswith(("/proc/", "/dev/urandom"))))


def _children() -> tuple[str, ...]:
    pids: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            pids += (task / "children").read_text().split()
        except OSError:
            continue  # a thread that has just ended
    return tuple(sorted(pids))


@pytest.fixture(autouse=True)
def census() -> Iterator[None]:
    """Fails a test that leaves something behind, and names it."""
    before = Census.take()
    yield
    deadline = time.monotonic() + PATIENCE
    while (after := Census.take()) != before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert _more(after, before) == {}, "left behind"


def _more(after: Census, before: Census) -> dict[str, list[str]]:
    """What is there now and was not before; something that went away meanwhile is no fault."""
    left = {}
    for name, now, then in zip(("fds", "children", "threads"), attrs.astuple(after), attrs.astuple(before), strict=True):
        rest = list(now)
        for item in then:
            if item in rest:
                rest.remove(item)
        if rest:
            left[name] = rest
    return left
