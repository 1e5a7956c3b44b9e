"""A connection, downstream or upstream: bytes in, bytes out, a bounded write, a synchronous abort, and word of the peer's leaving.

In: a connected socket, or any Trio stream (TLS, memory). Out: `read`, `write`, `abort`, `gone`. Owns no task. Whoever opened it closes it.
The socket form costs one syscall a call and is the hot path (a deadline exists only while a write is blocked); the stream form is for the rest.
"""
from __future__ import annotations

import errno
import socket
import sys
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from shadowproxy.watch import Watch

CHUNK = 65536
LINGER, LINGER_BYTES = 1.0, 16 << 20
"""How long, and how much, is still read of a peer to which nothing more will be said. Without that, what it sends meanwhile makes the kernel
drop what it has not read yet (a reset), which is just the refusal that would tell it what is wrong."""
AnySocket: TypeAlias = socket.socket | trio.socket.SocketType


FLOOR = 4096
"""Bytes a second that a peer must read of a large write, once the write deadline has passed: slower ones hold memory for nothing."""


class PeerGone(Exception):
    """Nobody is there to write to: the peer left, did not read for the whole write deadline, or reads slower than `FLOOR`."""


class Connection(trio.abc.AsyncResource):
    """What the HTTP server and the HTTP client ask of a connection."""

    __slots__ = ("gone", "on_gone", "peer")

    def __init__(self, peer: tuple[str, int] | None) -> None:
        self.gone = False  # the peer has left
        self.on_gone: Callable[[], None] | None = None  # called once when that is noticed
        self.peer = peer

    def _left(self) -> None:
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()

    @abstractmethod
    async def read(self) -> bytes:
        """The next bytes; b"" when the peer has finished or the connection was aborted."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send all of it. Raises `PeerGone`."""

    @abstractmethod
    def write_nowait(self, data: bytes) -> bool:
        """Send it if that needs no waiting and no write is under way; False, and nothing sent, otherwise."""

    @abstractmethod
    def quiet(self) -> bool:
        """Whether nothing waits to be read: what comes unasked spoils an idle connection."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection now; who waits on it wakes. Idempotent."""

    @abstractmethod
    async def finish(self) -> None:
        """Say that nothing more will be sent, so that the peer can read what was, and wait for its end briefly."""

    async def aclose(self) -> None:
        """`abort`, for those who close any resource alike (`trio.serve_listeners`)."""
        self.abort()
        await trio.lowlevel.checkpoint()


class SocketConnection(Connection):
    """A plain socket. Wait first, then `recv`: after a write the answer is never there yet, and the wait is the checkpoint."""

    __slots__ = ("_reader", "_ready", "_recv", "_send", "_told", "_unsent", "_watch", "_writing", "fd", "socket", "write_timeout")

    def __init__(self, sock: socket.socket, watch: Watch, write_timeout: float) -> None:
        super().__init__(peer_of(sock))
        self.socket, self.fd, self._watch, self.write_timeout = sock, sock.fileno(), watch, write_timeout
        self._recv, self._send = sock.recv, sock.send
        self._unsent = b""
        self._writing = False
        prepare(sock)
        self._ready = False  # something may have come since the last `recv` that took all there was
        self._reader: trio.lowlevel.Task | None = None
        self._told = watch.add(sock, self._left, self._readable)

    async def read(self) -> bytes:
        if self.fd == -1:  # aborted: the number may be another connection's by now
            await trio.lowlevel.checkpoint()
            return b""
        while True:  # noqa: ASYNC913 - each round waits, or returns
            try:
                await self._wait()
                data = self._recv(CHUNK)
                self._ready = len(data) == CHUNK or self.gone  # less than was asked for: there is no more (epoll(7), "Questions and answers", 9)
                return data
            except BlockingIOError:
                self._ready = False
            except (OSError, trio.ClosedResourceError):
                return b""

    def _wait(self) -> Awaitable[object]:
        """For something to read; always a checkpoint."""
        if self._ready:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 - `read` awaits it
        if not self._told:
            return trio.lowlevel.wait_readable(self.fd)  # noqa: ASYNC105 - `read` awaits it
        if self._reader is not None:
            raise trio.BusyResourceError("another task reads from this connection already")
        self._reader = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105 - `read` awaits it

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _readable(self) -> None:
        self._ready = True
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    async def write(self, data: bytes) -> None:
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            raise PeerGone("the connection is closed") from None
        if sent != len(data):
            await self._write_slowly(memoryview(data)[sent:])

    async def _write_slowly(self, rest: memoryview) -> None:
        """Whatever the peer takes buys it time: the write deadline anew, but no more than `FLOOR` allows for what it has taken in all."""
        self._writing = True
        size, latest = len(rest), trio.current_time() + self.write_timeout
        try:
            with trio.CancelScope(deadline=latest) as patience:  # noqa: ASYNC912 - there is a rest, or we would not be here
                while rest:
                    await trio.lowlevel.wait_writable(self.fd)
                    try:
                        rest = rest[self._send(rest) :]
                    except BlockingIOError:
                        continue
                    patience.deadline = min(trio.current_time() + self.write_timeout, latest + (size - len(rest)) / FLOOR)
                self._writing = False
                return
        except (OSError, trio.ClosedResourceError):
            raise PeerGone("the connection is closed") from None
        finally:
            if self._writing:  # a part is out: nothing sensible can follow it
                self.abort()
        raise PeerGone(f"the peer did not read for {self.write_timeout:g} s, or more slowly than {FLOOR} bytes a second")

    def write_nowait(self, data: bytes) -> bool:
        if self._writing or self._unsent:
            return False
        try:
            sent = self._send(data)
        except OSError:
            return False
        self._unsent = data[sent:]
        return True

    def quiet(self) -> bool:
        try:
            self._recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def abort(self) -> None:
        if self.socket.fileno() == -1:
            return
        self._watch.remove(self.fd)
        trio.lowlevel.notify_closing(self.fd)
        self.socket.close()
        self.fd = -1
        self._readable()  # who reads finds it closed

    async def finish(self) -> None:
        left = LINGER_BYTES
        with trio.move_on_after(LINGER):  # noqa: ASYNC912 - what does not wait needs no end
            try:
                if self._unsent:
                    await SocketConnection.write(self, b"")
                self.socket.shutdown(socket.SHUT_WR)
                while left > 0 and (data := await SocketConnection.read(self)):  # whatever a subclass makes of it
                    left -= len(data)
            except (OSError, PeerGone, trio.BusyResourceError):  # the last: another task reads already
                return


class StreamConnection(Connection):
    """Any Trio stream: TLS to an upstream, or memory in tests. `sock`, if given, is watched for the peer's leaving."""

    __slots__ = ("_sock", "_stream", "_watch", "_write_timeout", "_writing")

    def __init__(self, stream: trio.abc.Stream, write_timeout: float, watch: Watch | None = None, sock: AnySocket | None = None) -> None:
        super().__init__(None if sock is None else peer_of(sock))
        self._stream, self._write_timeout, self._watch, self._sock = stream, write_timeout, watch, sock
        self._writing = False
        if watch is not None and sock is not None:
            watch.add(sock, self._left)

    async def read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def write(self, data: bytes) -> None:
        self._writing = True
        try:
            with trio.move_on_after(self._write_timeout):
                await self._stream.send_all(data)
                self._writing = False
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerGone("the connection is closed") from None
        finally:
            if self._writing:
                self.abort()
        raise PeerGone(f"the peer did not read for {self._write_timeout:g} s")

    def write_nowait(self, data: bytes) -> bool:
        return False  # a stream has no such call; what serves clients is a socket, with TLS or without

    def quiet(self) -> bool:
        return not self.gone  # what TLS keeps cannot be peeked at

    def abort(self) -> None:
        self.gone = True
        if self._sock is not None and self._sock.fileno() != -1:
            if self._watch is not None:
                self._watch.remove(self._sock.fileno())
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        elif self._sock is None and isinstance(self._stream, trio.StapledStream):
            close = getattr(self._stream.send_stream, "close", None), getattr(self._stream.receive_stream, "close", None)
            for function in close:
                if function is not None:
                    function()

    async def finish(self) -> None:
        with trio.move_on_after(LINGER):
            await self._stream.aclose()


def peer_of(sock: AnySocket) -> tuple[str, int] | None:
    """Address and port of the other end; None for a unix socket or one that is closed already."""
    try:
        name = sock.getpeername()
    except OSError:
        return None
    return (name[0], name[1]) if isinstance(name, tuple) else None


def prepare(sock: socket.socket) -> None:
    """Small messages leave at once, and a peer whose machine vanished is noticed within minutes."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOPROTOOPT, errno.EBADF):
            raise
