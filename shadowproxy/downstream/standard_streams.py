"""Our own standard input and output as Trio streams: pipes, sockets and terminals, and plain files too, which no event loop can wait for.

In: the file descriptors 0 and 1. Out: a stream each, over a duplicate, so that closing it leaves the descriptor to the process.
The caller closes them; a descriptor's blocking mode is put back then.
"""
from __future__ import annotations

import os
import stat

import trio


def open_stdin() -> trio.abc.ReceiveStream:
    fd = os.dup(0)
    return PlainFile(fd) if _is_plain(fd) else trio.lowlevel.FdStream(fd)


def open_stdout() -> trio.abc.SendStream:
    fd = os.dup(1)
    return PlainFile(fd) if _is_plain(fd) else trio.lowlevel.FdStream(fd)


def _is_plain(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd))  # /dev/null cannot be waited for either


class PlainFile(trio.abc.SendStream, trio.abc.ReceiveStream):
    """A regular file: reading and writing it never waits for a peer."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return os.read(self._fd, max_bytes or 65536)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if self._fd != -1:
            fd, self._fd = self._fd, -1
            os.close(fd)
