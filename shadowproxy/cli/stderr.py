"""Our standard error, written without ever waiting for who reads it.

In: lines. Out: as many of them as the reader takes; the rest is dropped, counted, and the count told as soon as there is room. A client that
starts us and never reads our standard error would otherwise stop every exchange once its pipe (64 KiB) is full. Owns nothing: the descriptor
stays the process's, and its blocking mode as it is, because other processes share it.
"""
from __future__ import annotations

import os
import select

STEP = 4096
"""Bytes of one write: a pipe that polls as writable takes a page without blocking (PIPE_BUF on Linux)."""


class Stderr:
    """`write` takes one whole line, its newline included."""

    def __init__(self, fd: int) -> None:
        self._fd, self.dropped = fd, 0
        self._torn = False  # the last line lost its end
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def write(self, line: bytes) -> None:
        if self.dropped:
            line = b"(%d log lines dropped: standard error was not read)\n" % self.dropped + line
        if not self._put(b"\n" + line if self._torn else line):
            self.dropped += 1
        else:
            self.dropped = 0

    def _put(self, data: bytes) -> bool:
        start = len(data)
        while data:
            try:
                written = os.write(self._fd, data[:STEP]) if self._room.poll(0) else 0
            except OSError:  # closed, or its reader is gone: there is nobody to tell
                written = 0
            if not written:
                self._torn = self._torn or len(data) < start
                return False
            data = data[written:]
        self._torn = False
        return True
