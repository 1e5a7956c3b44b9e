"""Reading a tape: a file -> its header and its frames, one after the other; nothing is held but the line under way.

In: a path (`.zst` is read as what it says). Out: `Reading`, an iterable of frames, or frames at an offset. Plain blocking reads, for the command
line, tests and threads. Whoever opened it closes it (`with`). A torn last line is tolerated (`torn`): the recorder died there, or is writing it.
A line in the middle that cannot be read becomes a `gap` frame, so that nobody takes the rest for the whole. Raises `Unreadable` for no tape at all.
"""
from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from shadowproxy.tape.convert import converter, version_of
from shadowproxy.tape.frame import Frame, Header, Unreadable, decode_frame, decode_header

LINE_MAX = 1 << 30
"""Bytes of one line: more than any limit of a message, and a bound for a file that is no tape."""


class Reading:
    """An open tape. Iterating goes on where it stopped, so that a tape that is still being written can be followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_bytes(path)
        try:
            line = self._line()
            self._convert = converter(version_of(line))
            self.header: Header = decode_header(self._convert(line, True))
        except Unreadable as error:
            self._file.close()
            raise Unreadable(f"{path}: {error}") from None
        except BaseException:
            self._file.close()
            raise
        self.torn = False
        self.line = 1  # the number of the last line read
        self._offset = len(line)
        self._last, self._t = 0, 0.0

    @property
    def offset(self) -> int:
        """Where the next frame begins, in bytes (of the decompressed tape)."""
        return self._offset

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.next()) is not None:
            yield frame

    def next(self) -> Frame | None:
        """The next frame; None at the end of what is there. Asked again later, it looks again."""
        try:
            line = self._line()
        except Unreadable as error:
            raise Unreadable(f"{self.path}: {error}") from None
        self.torn = bool(line) and not line.endswith(b"\n")
        if not line or self.torn:
            if line:
                self._again()
            return None
        self._offset += len(line)
        self.line += 1
        try:
            frame = decode_frame(self._convert(line, False))
        except Unreadable as error:
            frame = Frame(n=self._last + 1, t=self._t, dir="s2c", kind="gap", text=f"line {self.line}: {error}", lost=1)
        self._last, self._t = frame.n + (frame.lost or 1) - 1, frame.t
        return frame

    def _line(self) -> bytes:
        try:
            return self._file.readline(LINE_MAX)
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            raise Unreadable(f"not compressed with zstd, or damaged ({error}); what was read up to here is right") from None

    def _again(self) -> None:
        """Look at this line once more when more of it is there; a compressed tape is never being written, and cannot go back."""
        if self.path.suffix != ".zst":
            self._file.seek(self._offset)

    def at(self, offset: int) -> Frame:
        """The frame whose line begins there. Moves the place where iterating goes on."""
        self.seek(offset)
        frame = self.next()
        if frame is None:
            raise Unreadable(f"{self.path}: no frame at byte {offset}")
        return frame

    def seek(self, offset: int) -> None:
        """Go on from there; a line begins there, or will."""
        self._file.seek(offset)
        self._offset = offset

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_bytes(path: Path) -> BinaryIO:
    """The tape's bytes, decompressed if its name ends in `.zst`."""
    if path.suffix != ".zst":
        return path.open("rb")
    try:
        import zstandard
    except ImportError:
        raise Unreadable(f"{path}: reading .zst tapes needs the package zstandard: pip install mcp-shadowproxy[zstd]") from None
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True))
