"""Lines as stdio carries them: one message a line.

In: the bytes of a pipe, cut anywhere. Out: complete lines without their ends. A line past the limit is thrown away up to its end,
and the rest goes on: one huge answer must not cost the others theirs (2026-07-28, basic/transports/stdio.mdx).
Every byte is looked at a fixed number of times, however the input is cut.
"""
from __future__ import annotations

from collections import deque
from typing import Final

#: So much of a discarded line is kept: enough to find a message's id near its start.
HEAD: Final = 256
#: Heads kept until somebody takes them; older ones go.
HEADS: Final = 16


class LineParser:
    """Bytes in, lines out; the same lines for any cut of the bytes. Never raises, never keeps more than `limit` bytes.

    `limit` bounds a line's bytes before its "\\n". `too_long` counts the lines discarded for it, each as soon as it is known;
    `heads` holds the first bytes of the newest of them (the caller pops them), so that whoever waits for such a message can be told.
    """

    __slots__ = ("_discarding", "_limit", "_partial", "heads", "too_long")

    def __init__(self, limit: int) -> None:
        self.too_long = 0
        self.heads: deque[bytes] = deque(maxlen=HEADS)
        self._limit = limit
        self._partial = bytearray()  # the last line so far
        self._discarding = False     # its end is still to come, and it is already refused

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; give the lines that they complete.

        "\\n" ends a line, one "\\r" before it belongs to the end; blank lines are dropped.
        """
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and (self._partial or self._discarding):
            lines[0] = self._complete(lines[0])
        done = []
        for line in lines:
            if len(line) > self._limit:
                self._refuse(line)
            elif line and not line.isspace():
                done.append(line.removesuffix(b"\r"))
        if rest and not self._discarding:
            self._keep(rest)
        return done

    def flush(self) -> bytes:
        """At the end of input: the last line if nothing ended it, b"" if there is none."""
        line = bytes(self._partial)
        self._partial.clear()
        self._discarding = False
        line = line.removesuffix(b"\r")
        return b"" if line.isspace() else line

    def _complete(self, end: bytes) -> bytes:
        """The line that `end` ends; b"" if it was refused."""
        if not self._discarding:
            self._keep(end)
        line = bytes(self._partial)
        self._partial = bytearray()
        self._discarding = False
        return line

    def _keep(self, part: bytes) -> None:
        """Add to the unfinished line, unless it gets too long: then refuse all of it."""
        if len(self._partial) + len(part) <= self._limit:
            self._partial += part
            return
        self._refuse(bytes(self._partial[:HEAD]) + part[:HEAD])
        self._partial = bytearray()
        self._discarding = True

    def _refuse(self, line: bytes) -> None:
        self.too_long += 1
        self.heads.append(line[: min(HEAD, self._limit)])  # the limit too, or the cut of the bytes would show
