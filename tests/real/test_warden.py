"""The warden: what it holds, what it bears, that it goes; and that nobody is left when a whole proxy is killed.

Real processes; waiting is always for a condition with a deadline.
"""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from families import FAMILY, PROXY, alive, family, nobody_left
from families import until as wait_until

from shadowproxy import errors
from shadowproxy.upstream import warden as module
from shadowproxy.upstream.warden import Warden, kill_family, kill_holders


@pytest.fixture
def marker() -> Iterator[str]:
    with nobody_left() as marker:
        yield marker


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session, to be killed by the warden or by us."""
    with subprocess.Popen(["sleep", "1000"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def started(warden: Warden) -> int:
    """Its pid, once it listens: Python is running, and the signals are ignored."""
    assert warden.pid is not None
    until(lambda: int(field(warden.pid, "SigIgn"), 16) & 1 << signal.SIGHUP - 1)
    return warden.pid


def field(pid: int | None, name: str) -> str:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return line.split()[1]
    return "0"


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_it_is_started_by_the_first_child_and_reaped_at_the_end() -> None:
    with Warden() as warden:
        assert (warden.pid, repr(warden)) == (None, "<Warden pid=None children=0>")
        ticket = warden.expect([1])
        pid = warden.pid
        assert repr(warden) == f"<Warden pid={pid} children=1>"
        warden.forget(ticket)
        assert warden.pid == pid
    assert warden.pid is None
    assert pid is not None
    assert gone(pid)


def test_it_holds_nothing_of_ours_and_hears_no_polite_signal() -> None:
    with Warden() as warden:
        warden.expect([1])
        pid = started(warden)
        streams = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert streams[1:] == ["/dev/null"] * 2
        assert streams[0].startswith("pipe:")
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        warden.expect([2])
        assert warden.pid == pid
        assert field(pid, "State") != "Z"


def test_closed_with_a_child_it_kills_it_first(sleeper: subprocess.Popen[bytes]) -> None:
    with Warden() as warden:
        warden.know(warden.expect([1]), sleeper.pid)
        forgotten = warden.expect([2])
        warden.know(forgotten, os.getpid())  # forgotten: so we live
        warden.forget(forgotten)
    assert sleeper.wait(5) == -signal.SIGKILL


def test_a_child_whose_pid_is_not_known_yet_is_known_by_its_pipe(sleeper: subprocess.Popen[bytes]) -> None:
    assert sleeper.stdin is not None
    with Warden() as warden:
        warden.expect([os.fstat(sleeper.stdin.fileno()).st_ino])
    assert sleeper.wait(5) == -signal.SIGKILL


def test_one_that_was_killed_is_replaced_and_told_everything(sleeper: subprocess.Popen[bytes]) -> None:
    with Warden() as warden:
        warden.know(warden.expect([1]), sleeper.pid)
        first = warden.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: field(first, "State") == "Z")
        warden.forget(warden.expect([2]))
        assert warden.pid not in (None, first)
        assert gone(first)
    assert sleeper.wait(5) == -signal.SIGKILL


def test_one_that_dies_while_a_child_is_spawned_is_replaced_then(sleeper: subprocess.Popen[bytes]) -> None:
    with Warden() as warden:
        ticket = warden.expect([1])
        first = warden.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: field(first, "State") == "Z")
        warden.know(ticket, sleeper.pid)
        assert warden.pid not in (None, first)
    assert sleeper.wait(5) == -signal.SIGKILL


def test_one_that_is_missed_when_the_last_child_goes_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with Warden() as warden:
        ticket = warden.expect([1])
        pid = warden.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: field(pid, "State") == "Z")
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        warden.know(ticket, os.getpid())  # it cannot be replaced now, which harms no child that runs
        assert warden.pid is None
        warden.forget(ticket)
        assert repr(warden) == "<Warden pid=None children=0>"


def test_one_that_is_stopped_blocks_nobody_and_kills_nobody(sleeper: subprocess.Popen[bytes]) -> None:
    with Warden() as warden:
        ticket = warden.expect([1])
        warden.know(ticket, sleeper.pid)
        first = started(warden)
        os.kill(first, signal.SIGSTOP)
        for _ in range(10_000):
            warden.forget(warden.expect([2]))
        assert warden.pid != first
        assert gone(first)
        assert sleeper.poll() is None
        warden.forget(ticket)


def test_without_an_interpreter_there_is_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with Warden() as warden:
        with pytest.raises(FileNotFoundError):
            warden.expect([1])
        assert repr(warden) == "<Warden pid=None children=0>"


def test_who_was_forked_behind_one_look_is_found_by_the_next(monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]) -> None:
    assert sleeper.stdin is not None
    real, looks = module._processes, iter([iter(())])
    monkeypatch.setattr(module, "_processes", lambda: next(looks, None) or real())
    kill_holders([os.fstat(sleeper.stdin.fileno()).st_ino])
    assert sleeper.wait(5) == -signal.SIGKILL


def test_the_dead_and_the_strange_are_no_trouble(monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]) -> None:
    def refuse(_path: str) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", refuse)  # a system without /proc
    kill_holders([1])
    kill_family(sleeper.pid)
    assert sleeper.wait(5) == -signal.SIGKILL
    kill_family(sleeper.pid)


# --- when the proxy is killed

@asynccontextmanager
async def proxy(marker: str, *traits: str) -> AsyncIterator[tuple[Callable[[], Awaitable[int]], trio.Process]]:
    """A proxy in a process of its own; `says()` is the next number it prints. It is killed with SIGKILL when the block is left."""
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(
            trio.run_process, [sys.executable, "-c", PROXY, FAMILY, marker, *traits], check=False, stdin=b"", stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(errors.__file__).parents[1])}))
        assert process.stdout is not None
        lines = process.stdout

        async def says() -> int:
            line = b""
            with trio.fail_after(20):
                while not line.endswith(b"\n"):
                    line += await lines.receive_some(1)
            return int(line)

        async with lines:
            try:
                yield says, process
            finally:
                process.kill()


@pytest.mark.parametrize("traits", ["ignores deaf", "ignores deaf regrouped", "ignores deaf detached", "ignores deaf warden-killed"])
async def test_kill_9_of_the_proxy_leaves_nobody(marker: str, traits: str) -> None:
    async with proxy(marker, *traits.split()) as (says, _):
        await says()
        warden = await says()
        assert alive(warden)
        assert len(family(marker)) == 5  # the proxy, two leaders, two grandchildren
    await wait_until(lambda: not family(marker) and not alive(warden), seconds=2)


@pytest.mark.parametrize("moment", range(20))
async def test_kill_9_while_it_spawns_leaves_nobody(marker: str, moment: int) -> None:
    async with proxy(marker, "ignores", "spawning") as (says, _):
        warden = await says()
        time.sleep(moment / 5000)  # not Trio's: a fine moment is wanted
    await wait_until(lambda: not family(marker) and not alive(warden))
