"""Opening a connection to an HTTP upstream: plain, TLS, or a unix socket; by name to whichever address of the name answers first.

In: the upstream's URL. Out: a function that opens one `Connection`. Owns no task; what it opened belongs to its caller.
"""
from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import trio

from shadowproxy.connection import Connection, SocketConnection, StreamConnection
from shadowproxy.errors import UpstreamUnreachable
from shadowproxy.watch import Watch

UNIX = "unix:"


def connector(url: str, watch: Watch, write_timeout: float, context: ssl.SSLContext | None = None) -> Callable[[], Awaitable[Connection]]:
    """`context` is for https; None takes the system's trust."""
    if url.startswith(UNIX):
        return partial(_connect_unix, url.removeprefix(UNIX), watch, write_timeout)
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    if tls and context is None:
        context = ssl.create_default_context()

    async def connect() -> Connection:
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise UpstreamUnreachable(f"no connection to {url}: {_reason(error)}; is the server up, and is the address right?") from None
        if not tls:
            sock = socket.socket(fileno=stream.socket.detach())
            sock.setblocking(False)
            return SocketConnection(sock, watch, write_timeout)
        assert context is not None
        return await _secure(stream, context, host, url, watch, write_timeout)

    return connect


async def _connect_unix(path: str, watch: Watch, write_timeout: float) -> Connection:
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.connect(path)
    except OSError as error:
        sock.close()
        raise UpstreamUnreachable(f"no connection to {UNIX}{path}: {error.strerror or error}; is the server up, and is the path right?") from None
    plain = socket.socket(fileno=sock.detach())
    plain.setblocking(False)
    return SocketConnection(plain, watch, write_timeout)


async def _secure(stream: trio.SocketStream, context: ssl.SSLContext, host: str, url: str, watch: Watch, write_timeout: float) -> Connection:
    secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException as error:
        stream.socket.close()
        if isinstance(error, (trio.BrokenResourceError, ssl.SSLError)):
            raise UpstreamUnreachable(  # noqa: ASYNC104 - only these two, which are no cancellation
                f"no TLS connection to {url}: {_reason(error.__cause__ or error)}; check its certificate and who issued it"
            ) from None
        raise
    return StreamConnection(secure, write_timeout, watch, stream.socket)


def _reason(error: BaseException) -> str:
    """The innermost reason of a failed connection: Trio groups one error per address tried."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    said = cause if isinstance(cause, OSError) else error
    text = (said.strerror if isinstance(said, OSError) else None) or str(said)
    return text.rpartition("): ")[2]  # Trio's begins with the address, as Python spells it
