"""Listening: addresses -> sockets -> accepted connections, fairly, as many as the limit allows.

In: HOST:PORT texts. Out: `Listener`s for `trio.serve_listeners`, whose `accept` gives a `Connection`. Owns no task.
`open_sockets` is all or nothing; who got the listeners closes them (`serve_listeners` does).
"""
from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress

import trio

from shadowproxy.connection import Connection, SocketConnection
from shadowproxy.downstream.tls import Certificates
from shadowproxy.downstream.tls_connection import TlsConnection
from shadowproxy.watch import Watch

BACKLOG = 4096
"""Waiting connections that the kernel keeps for us: a burst of 1000 must not be refused (docs/discussion of fairness in design.md)."""
BURST = 64
"""Accepts without a checkpoint. Trio's own listener takes one per scheduler round, in which every busy connection runs once;
so 500 newcomers would wait for seconds while the accepted ones are served."""


UNIX = "unix:"


class CannotListen(OSError):
    """An address that cannot be listened on; the message names it and the reason."""


class Listener(trio.abc.Listener[Connection]):
    """`accept()` takes from the backlog without a checkpoint, up to `BURST` in a row. `EMFILE` and its kin go to `serve_listeners`, which waits."""

    def __init__(self, sock: socket.socket, watch: Watch, write_timeout: float, certificates: Certificates | None = None) -> None:
        self.socket, self._watch, self._write_timeout = sock, watch, write_timeout
        self._path = sock.getsockname() if sock.family == socket.AF_UNIX else None
        self.certificates = None if self._path else certificates
        self._row = 0

    async def accept(self) -> Connection:
        while True:  # noqa: ASYNC913 - a checkpoint every BURST connections, by design
            if self._row >= BURST:
                self._row = 0
                await trio.lowlevel.checkpoint()
            try:
                sock, _ = self.socket.accept()
            except BlockingIOError:
                self._row = 0
                await trio.lowlevel.wait_readable(self.socket)
                continue
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise trio.ClosedResourceError from None
                raise
            self._row += 1
            sock.setblocking(False)
            if self.certificates is not None:
                return TlsConnection(sock, self.certificates.context(), self._watch, self._write_timeout)
            return SocketConnection(sock, self._watch, self._write_timeout)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if self.socket.fileno() != -1:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
            if self._path is not None:
                with suppress(FileNotFoundError):
                    os.unlink(self._path)

    @property
    def url(self) -> str:
        """Where it listens, as a client names it, less the path."""
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{'http' if self.certificates is None else 'https'}://{address_of(self.socket)}"


def split_address(text: str) -> tuple[str, int]:
    """HOST:PORT or [V6]:PORT; the caller has checked its form."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def open_sockets(addresses: Iterable[str]) -> list[socket.socket]:
    """Bind and listen on every address, each name resolved to all it stands for. Raises `CannotListen`, with nothing left open."""
    sockets: list[socket.socket] = []
    try:
        for text in addresses:
            sockets += await _listen(text)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _listen(text: str) -> list[socket.socket]:
    if text.startswith(UNIX):
        return [_bind_unix(text.removeprefix(UNIX))]
    host, port = split_address(text)
    sockets: list[socket.socket] = []
    try:
        found = await trio.socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            if port == 0 and sockets:  # one free port for all that the name stands for
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sockets.append(_bind(family, address))
    except OSError as error:
        for sock in sockets:
            sock.close()
        reason = error.strerror or str(error)
        raise CannotListen(error.errno or 0, f"cannot listen on {text}: {reason}") from None
    return sockets


def _bind_unix(path: str) -> socket.socket:
    """A socket file, for this user only. One that nobody listens on any more, left by a crash, is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            os.unlink(path)
        sock.setblocking(False)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise CannotListen(error.errno or 0, f"cannot listen on {UNIX}{path}: {error.strerror or error}") from None
    return sock


def _is_abandoned(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _bind(family: int, address: Sequence[object]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(tuple(address))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def address_of(sock: socket.socket) -> str:
    """HOST:PORT as one writes it in a URL."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
