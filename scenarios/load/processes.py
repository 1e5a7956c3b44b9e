"""Processes on a CPU of their own, what they use, and their end.

In: a command line and a CPU. Out: a `Process`, whose CPU seconds and memory (PSS) are read from /proc, with those of its offspring.
`stop` ends the process and all that descends from it, by their ids, within a few seconds.
"""
from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
GRACE = 6.0
_PARENT, _USER, _SYSTEM, _STARTED = 1, 11, 12, 19  # fields of /proc/PID/stat after the name; proc(5)


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """What is started meanwhile stays on this CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A running command. Its words go to `log`; with `pipes`, standard input and output are ours."""

    def __init__(self, command: Sequence[str], cpu: int, log: Path, *, pipes: bool = False) -> None:
        self.log = log
        with on_cpu(cpu), log.open("wb") as words:
            self.popen = subprocess.Popen(
                list(command), stdin=subprocess.PIPE if pipes else subprocess.DEVNULL, stdout=subprocess.PIPE if pipes else words, stderr=words,
                cwd=log.parent, start_new_session=True, bufsize=0)  # fmt: skip

    @property
    def ended(self) -> bool:
        return self.popen.poll() is not None

    def words(self) -> str:
        """The last that it said, on one line."""
        return " ".join(self.log.read_bytes()[-400:].decode("utf-8", "replace").split())

    def cpu_seconds(self, without: frozenset[str]) -> float:
        """Of it and its living offspring, but for those that run one of the programs `without`."""
        return sum(_cpu_seconds(pid) for pid in self._counted(without))

    def pss(self, without: frozenset[str]) -> int:
        """Bytes of memory, in the same way; what is shared with others counts by its share."""
        return sum(_pss(pid, "Pss") for pid in self._counted(without))

    def own_pss(self, without: frozenset[str]) -> int:
        """The part of it that no file backs: the rest changes whenever a neighbour starts or ends that has the same file mapped."""
        return sum(_pss(pid, "Pss_Anon") for pid in self._counted(without))

    def _counted(self, without: frozenset[str]) -> list[int]:
        return [pid for pid, _ in _family(self.popen.pid) if _program(pid) not in without]

    def stop(self) -> None:
        """SIGTERM to its group, a grace, then SIGKILL to all that is left of the family."""
        family = _family(self.popen.pid)
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGTERM)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(GRACE)
        for pid, started in family:
            if _started(pid) == started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.popen.wait(GRACE)


def settled(process: Process, without: frozenset[str]) -> int:
    """Its own memory once that stands still, or after 5 seconds."""
    last = process.own_pss(without)
    for _ in range(20):
        time.sleep(0.25)
        now = process.own_pss(without)
        if abs(now - last) < 32 * 1024:
            return now
        last = now
    return last


# ---------------------------------------------------- /proc
def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _started(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[_STARTED] if fields else None


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / TICKS if fields else 0.0


def _pss(pid: int, part: str) -> int:
    try:
        found = re.search(rf"^{part}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _family(pid: int) -> list[tuple[int, str]]:
    """It and its offspring, each with its start, by which a later process of the same id is told from it."""
    children: dict[int, list[int]] = {}
    starts: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[_PARENT]), []).append(int(entry))
            starts[int(entry)] = fields[_STARTED]
    found, wanted = [], [pid]
    while wanted:
        one = wanted.pop()
        if one in starts:
            found.append((one, starts[one]))
        wanted += children.get(one, [])
    return found
