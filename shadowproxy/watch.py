"""The watch: one task that tells every connection what its socket has to say: bytes have come, the peer has left.

In: connected sockets with callbacks. Out: `left`, once, when the peer has closed (or half-closed, which counts as leaving); `readable` whenever
something has come. On Linux an epoll of its own, every socket registered once, edge-triggered: Trio's registers anew for each wait, a syscall a
read (docs/design.md, "Speed"). Elsewhere a look (`MSG_PEEK`) four times a second tells who left, and Trio what can be read.
`run` is the task; who opened the watch cancels it and then calls `close`.
"""
from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable

import trio

PERIOD = 0.25
"""Seconds between two looks where there is no epoll."""


_LEFT = getattr(select, "EPOLLRDHUP", 0)
_GONE = _LEFT | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)


class Watch:
    def __init__(self) -> None:
        self._watched: dict[int, tuple[Callable[[], None], Callable[[], None] | None]] = {}
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._telling = False  # `run` is under way

    def add(self, sock: socket.socket | trio.socket.SocketType, left: Callable[[], None], readable: Callable[[], None] | None = None) -> bool:
        """Have `left` called, and `readable` if the answer is True; if it is False, only Trio can tell. Both are called from `run`."""
        fd = sock.fileno()
        self._watched[fd] = left, readable
        if self._epoll is None or self._epoll.closed:
            return False
        events = _LEFT | select.EPOLLET | (0 if readable is None else select.EPOLLIN)
        try:
            self._epoll.register(fd, events)
        except FileExistsError:  # the same open socket, handed over from one owner to the next
            self._epoll.modify(fd, events)
        return self._telling

    def remove(self, fd: int) -> None:
        """Before the socket is closed; the kernel forgets it by itself then."""
        self._watched.pop(fd, None)

    async def run(self) -> None:
        self._telling = True
        while self._epoll is not None:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0):
                self._tell(fd, events)
        while True:
            await trio.sleep(PERIOD)
            for fd, callbacks in list(self._watched.items()):
                if self._watched.get(fd) is callbacks and _has_left(fd):  # another's callback may have ended this one
                    callbacks[0]()

    def _tell(self, fd: int, events: int) -> None:
        if (callbacks := self._watched.get(fd)) is None:
            return
        left, readable = callbacks
        if events & _GONE:
            left()
        if readable is not None:
            readable()

    def close(self) -> None:
        self._watched.clear()
        if self._epoll is not None:
            self._epoll.close()

    def __len__(self) -> int:
        return len(self._watched)


def _has_left(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
