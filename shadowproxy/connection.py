"""A connection, downstream or upstream: bytes in, bytes out, a bounded write, a synchronous abort, and word of the peer's leaving.

In: a connected socket, or any Trio stream (TLS, memory). Out: `read`, `write`, `abort`, `gone`. Owns no task. Whoever opened it closes it.
The socket form costs one syscall a call and is the hot path (a deadline exists only while a write is blocked); the stream form is for the rest.
"""
from __future__ import annotations

import errno
import socket
import ssl
import sys
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from shadowproxy.watch import Watch

CHUNK = 65536
AnySocket: TypeAlias = socket.socket | trio.socket.SocketType


class PeerGone(Exception):
    """Nobody is there to write to: the peer left, or did not read for the whole write deadline."""


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

    __slots__ = ("_recv", "_send", "_unsent", "_watch", "_writing", "fd", "socket", "write_timeout")

    def __init__(self, sock: socket.socket, watch: Watch, write_timeout: float) -> None:
        super().__init__(peer_of(sock))
        self.socket, self.fd, self._watch, self.write_timeout = sock, sock.fileno(), watch, write_timeout
        self._recv, self._send = sock.recv, sock.send
        self._unsent = b""
        self._writing = False
        prepare(sock)
        watch.add(sock, self._left)

    async def read(self) -> bytes:
        if self.fd == -1:  # aborted: the number may be another connection's by now
            await trio.lowlevel.checkpoint()
            return b""
        while True:  # noqa: ASYNC913 - each round waits, or returns
            try:
                await trio.lowlevel.wait_readable(self.fd)
                return self._recv(CHUNK)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                return b""

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
        self._writing = True
        try:
            with trio.move_on_after(self.write_timeout):  # noqa: ASYNC912 - there is a rest, or we would not be here
                while rest:
                    await trio.lowlevel.wait_writable(self.fd)
                    try:
                        rest = rest[self._send(rest) :]
                    except BlockingIOError:
                        pass
                self._writing = False
                return
        except (OSError, trio.ClosedResourceError):
            raise PeerGone("the connection is closed") from None
        finally:
            if self._writing:  # a part is out: nothing sensible can follow it
                self.abort()
        raise PeerGone(f"the peer did not read for {self.write_timeout:g} s")

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

    async def finish(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        with trio.move_on_after(1):
            while await self.read():
                pass


class StreamConnection(Connection):
    """Any Trio stream: TLS over a socket, or memory in tests. `sock`, if given, is watched for the peer's leaving."""

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
        return False  # a stream has no such call; who needs keep-alives here sends them itself

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
        with trio.move_on_after(1):
            await self._stream.aclose()


class TlsConnection(StreamConnection):
    """An accepted socket whose client wants TLS; nothing else may be done with it before `handshake`."""

    __slots__ = ("_tls", "subject")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, watch: Watch, write_timeout: float) -> None:
        plain = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._tls = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        self.subject: str | None = None  # the client's, by the certificate that it showed
        super().__init__(self._tls, write_timeout, watch, plain.socket)

    async def handshake(self, seconds: float) -> str:
        """The protocol agreed on, "http/1.1" unless ALPN says otherwise. Raises `PeerGone`."""
        with trio.move_on_after(seconds):
            try:
                await self._tls.do_handshake()
            except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
                raise PeerGone(f"no TLS handshake: {error.__cause__ or error}") from None
            self.subject = subject_of(self._tls.getpeercert())
            return self._tls.selected_alpn_protocol() or "http/1.1"
        raise PeerGone(f"no TLS handshake within {seconds:g} s")


_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C", "stateOrProvinceName": "ST", "localityName": "L"}


def subject_of(certificate: Any) -> str | None:
    """The subject of a certificate as `getpeercert` gives it, written as RFC 4514 does; None without one."""
    if not certificate:
        return None
    parts = [pair for part in reversed(certificate.get("subject", ())) for pair in part]
    return ",".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in parts)


def _escaped(value: str) -> str:
    return "".join(f"\\{letter}" if letter in ',+"\\<>;=#' else letter for letter in value)


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
