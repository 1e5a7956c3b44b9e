"""The watch: one task that tells every connection when its peer has left, at no cost per request.

In: connected sockets with a callback each. Out: the callback, once, when the peer has closed (or half-closed, which counts as leaving).
On Linux an epoll of its own, every socket registered once, edge-triggered; elsewhere a look (`MSG_PEEK`) four times a second.
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


class Watch:
    def __init__(self) -> None:
        self._watched: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll() if sys.platform == "linux" else None

    def add(self, sock: socket.socket | trio.socket.SocketType, callback: Callable[[], None]) -> None:
        fd = sock.fileno()
        self._watched[fd] = callback
        if self._epoll is not None and not self._epoll.closed:
            try:
                self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLET)
            except FileExistsError:  # the same open socket, handed over from one owner to the next
                self._epoll.modify(fd, select.EPOLLRDHUP | select.EPOLLET)

    def remove(self, fd: int) -> None:
        """Before the socket is closed; the kernel forgets it by itself then."""
        self._watched.pop(fd, None)

    async def run(self) -> None:
        while self._epoll is not None:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0):
                if (callback := self._watched.get(fd)) is not None:
                    callback()
        while True:
            await trio.sleep(PERIOD)
            for fd, callback in list(self._watched.items()):
                if self._watched.get(fd) is callback and _has_left(fd):  # another's callback may have ended this one
                    callback()

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
