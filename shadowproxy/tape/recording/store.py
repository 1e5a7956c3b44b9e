"""Tapes on disk: one file, or a directory with a file a session; whole lines appended, rotated, kept so many, compressed.

In: frames, a batch at a time, from one thread. Out: files that open at any crash. Blocking calls throughout; `recorder.py` makes them in a thread.
A file that is full or old is put aside (`name.20261121-083012.jsonl`, compressed if so wished) and a new one begins with a header of its own.
A write that fails half way is taken back, so that the next one does not follow half a line.
"""
from __future__ import annotations

import io
import logging
import os
import platform
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

import attrs

from shadowproxy.errors import ConfigError
from shadowproxy.tape.frame import Header, encode_header
from shadowproxy.tape.recording.track import Track
from shadowproxy.version import VERSION

log = logging.getLogger("shadowproxy")

OPEN = 32
"""Files that are kept open at once; more sessions than that take turns."""
SUFFIX = ".jsonl"


@attrs.frozen(kw_only=True)
class Rotation:
    """`size` bytes or `age` seconds at most in a file; `keep` files put aside at most (None: no bound); `compress` those."""

    size: int | None = None
    age: float | None = None
    keep: int | None = None
    compress: bool = False


@attrs.define
class _Open:
    """A file that is being written."""

    file: BinaryIO
    path: Path
    good: int  # bytes up to the last whole line
    since: float
    head: int = 0  # bytes of its header, while nothing else is in it


class Store:
    """`path` is a file for everything, or (`per_session`) a directory; `header` makes the first line for a track. Nothing is opened before there is something to write."""

    def __init__(self, path: Path, header: Callable[[Track], Header], *, per_session: bool, rotation: Rotation = Rotation()) -> None:
        self._path, self._header, self._per_session, self._rotation = path, header, per_session, rotation
        self._open: OrderedDict[Track, _Open] = OrderedDict()
        self._begun = time.strftime("%Y%m%d-%H%M%S")
        self._known: WeakKeyDictionary[Track, tuple[Path, float]] = WeakKeyDictionary()  # where each goes, and since when; gone with its session

    def write(self, track: Track, data: bytes) -> None:
        """Append these lines. Raises `OSError`, with nothing appended."""
        part = self._part(track)
        if self._is_full(part):
            self._put_aside(track)
            part = self._part(track)
        try:
            write_all(part.file, data)
        except OSError:
            with suppress(OSError):
                part.file.truncate(part.good)
            raise
        part.good += len(data)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].file.close()

    # ------------------------------------------------ files
    def _part(self, track: Track) -> _Open:
        part = self._open.get(track)
        if part is None:
            while len(self._open) >= OPEN:
                self._open.popitem(last=False)[1].file.close()
            part = self._open[track] = self._again(track) if track in self._known else self._begin(track)
        self._open.move_to_end(track)
        return part

    def _begin(self, track: Track) -> _Open:
        path = self._path_of(track)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            self._aside(path)  # of an earlier run: a tape has one header
        file = open_private(path)
        line = encode_header(self._header(track))
        try:
            write_all(file, line)
        except OSError:
            file.close()
            with suppress(OSError):
                path.unlink()
            raise
        since = time.monotonic()
        self._known[track] = path, since
        return _Open(file, path, len(line), since, len(line))

    def _again(self, track: Track) -> _Open:
        path, since = self._known[track]
        file = open_private(path)
        end = file.seek(0, os.SEEK_END)
        if not end:  # somebody has removed it
            file.close()
            return self._begin(track)
        return _Open(file, path, end, since)

    def _path_of(self, track: Track) -> Path:
        if not self._per_session:
            return self._path
        return self._path / f"{self._begun}-{os.getpid()}-{track.name or 'all'}{SUFFIX}"

    # ------------------------------------------------ rotation
    def _is_full(self, part: _Open) -> bool:
        size, age = self._rotation.size, self._rotation.age
        return part.good > part.head and ((size is not None and part.good >= size) or (age is not None and time.monotonic() - part.since >= age))

    def _put_aside(self, track: Track) -> None:
        part = self._open.pop(track)
        part.file.close()
        del self._known[track]
        self._aside(part.path)

    def _aside(self, path: Path) -> None:
        aside = free_name(path)
        path.rename(aside)
        try:
            if self._rotation.compress:
                compress(aside)
            if self._rotation.keep is not None:
                for old in old_ones(path)[self._rotation.keep :]:
                    old.unlink(missing_ok=True)
        except OSError as error:  # the tape is whole, and a new one can begin
            log.warning("a tape was put aside, but not compressed, or older ones were not removed", extra={"tape": str(aside), "reason": str(error)})


def open_private(path: Path) -> BinaryIO:
    """For appending, unbuffered, for nobody else to read: a tape holds what was said in confidence."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab", buffering=0)


def write_all(file: BinaryIO, data: bytes) -> None:
    """A disk that is nearly full takes a part and says so by the count only."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def free_name(path: Path) -> Path:
    """What `path` is called once it is put aside: with the time, and a number if that is taken."""
    stem = f"{path.name.removesuffix(SUFFIX)}.{time.strftime('%Y%m%d-%H%M%S')}"
    names = (path.with_name(f"{stem}{'' if number == 0 else f'-{number}'}{SUFFIX}") for number in range(1_000_000))
    return next(name for name in names if not name.exists() and not name.with_name(name.name + ".zst").exists())


def old_ones(path: Path) -> list[Path]:
    """Those of `path` that were put aside, the newest first."""
    aside = re.compile(rf"{re.escape(path.name.removesuffix(SUFFIX))}\.\d{{8}}-\d{{6}}(-\d+)?{re.escape(SUFFIX)}(\.zst)?")
    found = [old for old in path.parent.iterdir() if aside.fullmatch(old.name)]
    return sorted(found, key=lambda old: (old.stat().st_mtime_ns, old.name), reverse=True)


def compress(path: Path) -> Path:
    """Replace it by `path.zst`; the plain one goes only when that is whole and on disk. Raises `ConfigError` without the package."""
    zstandard = zstd()
    target = path.with_name(path.name + ".zst")
    half = target.with_name(target.name + ".part")
    try:
        with path.open("rb") as source, io.BufferedWriter(open_private(half)) as file:  # a raw one may take a part only
            file.truncate(0)
            zstandard.ZstdCompressor().copy_stream(source, file)
            os.fsync(file.fileno())
        half.rename(target)
    except OSError:
        with suppress(OSError):
            half.unlink()
        raise
    path.unlink()
    return target


def zstd() -> Any:
    """The package that compresses. Raises `ConfigError`, so that it is asked for before anything runs."""
    try:
        import zstandard
    except ImportError:
        raise ConfigError("compressing tapes needs the package zstandard: pip install 'mcp-shadowproxy[zstd]'") from None
    return zstandard


def tools() -> tuple[str, str]:
    """For a header: who recorded, on which Python."""
    return f"shadowproxy {VERSION}", platform.python_version()
