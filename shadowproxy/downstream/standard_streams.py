"""Our own standard input and output as Trio streams: pipes, sockets and terminals, and plain files too, which no event loop can wait for.

In: the file descriptors 0 and 1. Out: a stream each, over a duplicate, so that closing it leaves the descriptor to the process.
Leaving the block closes them and puts the descriptors' blocking modes back.
"""
from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import trio


@contextmanager
def open_standard_streams() -> Iterator[tuple[trio.abc.ReceiveStream, trio.abc.SendStream]]:
    """Input and output, while the block lasts. Afterwards both descriptors block or not as they did before, also where they are one open file:
    a shell that finds its terminal without blocking loses its own input."""
    modes = [(number, os.get_blocking(number)) for number in (0, 1)]
    with ExitStack() as stack:
        for number, blocking in modes:
            stack.callback(_put_back, number, blocking)
        stdin, stdout = _open(0), _open(1)
        stack.callback(stdin.close)
        stack.callback(stdout.close)
        yield stdin, stdout


def _put_back(number: int, blocking: bool) -> None:
    with suppress(OSError):  # somebody has closed it
        os.set_blocking(number, blocking)


def _open(number: int) -> PlainFile | trio.lowlevel.FdStream:
    fd = os.dup(number)
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
