"""Following tapes that are being written: a file by its name, or all files of a directory, new ones too. Ends by Ctrl-C.

In: a path, how much of the past to show. Out: rows as they come, each with its tape. A tape that is put aside by rotation keeps its place, as a
file is known by its inode; a compressed copy of one is left alone. Held: the open files, of which those at rest are closed and opened again when they grow.
"""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from shadowproxy.errors import ConfigError
from shadowproxy.tape.frame import Frame, Unreadable
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.viewing.rows import Row, rows

PAUSE: Final = 0.2
"""Seconds between two looks."""
REST: Final = 60.0
"""Seconds without growth until a file is closed."""
LONGEST: Final = 1 << 20
"""Bytes of a header; a first line that is longer is none."""
HISTORY: Final = 8 << 20
"""Bytes of the past that are looked at."""
_Inode: TypeAlias = tuple[int, int]


class Follower:
    """One tape, from the line that begins at `offset` on (0: from its first frame)."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path, self.size = path, 0
        self.reading: Reading | None = None
        self.grown = time.monotonic()
        self.fault = ""  # why it is no tape
        self._offset = offset
        self._next: deque[Frame] = deque()
        self._rows: Iterator[Row] | None = None

    def _frames(self) -> Iterator[Frame]:
        while True:
            yield self._next.popleft()

    def take(self) -> Iterator[Row]:
        """What has come since the last time. Nothing while there is not even a header."""
        if self.reading is None and not self._open():
            return
        assert self.reading is not None
        while (frame := self.reading.next()) is not None:
            yield self._row(frame)

    def _row(self, frame: Frame) -> Row:
        assert self.reading is not None
        if self._rows is None:
            self._rows = rows(self._frames(), self.reading.header.era)
        self._next.append(frame)
        return next(self._rows)

    def rest(self) -> None:
        """Let go of the file until it grows."""
        if self.reading is not None:
            self._offset = self.reading.offset
            self.reading.close()
            self.reading = None

    def _open(self) -> bool:
        try:
            reading = Reading(self.path)
        except FileNotFoundError:
            return False  # it has just been put aside under another name
        except Unreadable as error:
            self.fault = str(error) if b"\n" in _beginning(self.path) else ""  # else its header is being written
            return False
        if self._offset:
            reading.seek(self._offset)
        self.reading = reading
        return True


def follow(path: Path, *, sleep: Callable[[float], None] = time.sleep, say: Callable[[str], None] = lambda text: None) -> Iterator[tuple[Path, Row] | None]:
    """Rows with their tapes; None when all that is there was given, before each pause. `say`: what is to be known beside them. Raises `ConfigError` where
    nothing can be followed, `Unreadable` for a file that is no tape."""
    if path.suffix == ".zst":
        raise ConfigError(f"{path}: a compressed tape is finished, so there is nothing to follow; to see it: shadowproxy tape show {path}")
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or directory; there is once a recording has begun")
    followers = {}
    there = _there(path)
    for number, (inode, (name, size)) in enumerate(there.items(), 1):
        followers[inode] = Follower(name, line_start(name, size - HISTORY if number == len(there) else size))
    if not there:
        say(f"{path}: no tapes there yet; waiting for the first")
    try:
        while True:
            yield from _look(path, followers, say)
            yield None
            sleep(PAUSE)
    finally:
        for follower in followers.values():
            follower.rest()


def _look(path: Path, followers: dict[_Inode, Follower], say: Callable[[str], None]) -> Iterator[tuple[Path, Row]]:
    there = _there(path)
    for inode in list(followers.keys() - there.keys()):  # put aside or removed: what it still had
        gone = followers.pop(inode)
        if gone.reading is not None:
            yield from ((gone.path, row) for row in gone.take())
        gone.rest()
    for inode, (name, size) in there.items():
        follower = followers.setdefault(inode, Follower(name, 0))
        follower.path = name
        if size < follower.size:  # begun anew in the same file
            follower.rest()
            follower = followers[inode] = Follower(name, 0)
        if size > follower.size and not follower.fault:
            follower.size, follower.grown = size, time.monotonic()
            yield from ((name, row) for row in follower.take())
            if follower.fault and name == path:
                raise Unreadable(follower.fault)
            if follower.fault:
                say(f"{follower.fault}; passed over")
        elif time.monotonic() - follower.grown > REST:
            follower.rest()


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(LONGEST)


def line_start(path: Path, place: int) -> int:
    """Where the line begins that has that byte; 0 if it is among the first."""
    with path.open("rb") as file:
        span = 4096
        while place > 0:
            start = file.seek(max(0, place - span))
            found = file.read(place - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            if start == 0:
                break
            span *= 8
    return 0


def _there(path: Path) -> dict[_Inode, tuple[Path, int]]:
    """Tapes by their inodes, the oldest first."""
    found: list[tuple[int, _Inode, Path, int]] = []
    names = [name for name in path.iterdir() if name.suffix == ".jsonl" and not name.name.startswith(".")] if path.is_dir() else [path]
    for name in names:
        try:
            status = name.stat()
        except FileNotFoundError:
            continue  # gone since it was listed
        found.append((status.st_mtime_ns, (status.st_dev, status.st_ino), name, status.st_size))
    return {inode: (name, size) for _, inode, name, size in sorted(found)}
