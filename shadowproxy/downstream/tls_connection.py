"""An accepted socket whose client wants TLS: what `SocketConnection` is, with encryption between it and the socket.

In: a socket and an `SSLContext`. Out: a `Connection`; after `handshake`, which must come first, the protocol agreed on and the client's subject.
Owns no task. The TLS engine (`ssl.SSLObject`) sees memory only: what is to be sent is encrypted at once and goes out as bytes of a plain socket do,
so that a write which never waits is possible here too. A record that is encrypted must go out, and in its turn, or the client can read no more.
"""
from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

import trio

from shadowproxy.connection import CHUNK, LINGER, PeerGone, SocketConnection
from shadowproxy.watch import Watch


class TlsConnection(SocketConnection):
    """The server's end. Like TLS on most of the web it does without the client's word that it has finished: HTTP frames its messages."""

    __slots__ = ("_encrypted", "_received", "_tls", "subject")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, watch: Watch, write_timeout: float) -> None:
        super().__init__(sock, watch, write_timeout)
        self._received, self._encrypted = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._encrypted, server_side=True)
        self.subject: str | None = None  # the client's, by the certificate that it showed

    async def handshake(self, seconds: float) -> str:
        """The protocol agreed on, "http/1.1" unless ALPN says otherwise. Raises `PeerGone`."""
        with trio.move_on_after(seconds):
            try:
                await self._shake_hands()
            except ssl.SSLError as error:
                super().write_nowait(self._encrypted.read())  # the alert that says why
                raise PeerGone(f"no TLS handshake: {error}") from None
            self.subject = subject_of(self._tls.getpeercert())
            return self._tls.selected_alpn_protocol() or "http/1.1"
        raise PeerGone(f"no TLS handshake within {seconds:g} s")

    async def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                return await self._flush()
            except ssl.SSLWantReadError:
                pass
            await self._flush()
            if not await self._receive():
                raise PeerGone("no TLS handshake: the client left")

    async def _receive(self) -> bool:
        """Take in what comes next; False at the end."""
        data = await super().read()
        self._received.write(data)
        return bool(data)

    # ------------------------------------------------ a connection
    async def read(self) -> bytes:
        while self.fd != -1:  # noqa: ASYNC913 - each round waits, or returns
            try:
                data = self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                if await self._receive():
                    continue
                return b""
            except ssl.SSLError:  # the client has finished, or what came is no TLS
                break
            if data:
                return data
            break
        await trio.lowlevel.checkpoint()
        return b""

    async def write(self, data: bytes) -> None:
        try:
            self._encrypt(data)
        except ssl.SSLError as error:
            raise PeerGone(f"the TLS connection is broken: {error}") from None
        await self._flush()

    async def _flush(self) -> None:
        """Send what the engine wants sent."""
        if self._encrypted.pending:
            await super().write(self._encrypted.read())

    def _encrypt(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]

    def write_nowait(self, data: bytes) -> bool:
        if self._writing or self._unsent or self.fd == -1:
            return False
        try:
            self._encrypt(data)
        except ssl.SSLError:  # before the handshake, or after the end
            return False
        record = self._encrypted.read()
        if not super().write_nowait(record):
            self._unsent = record  # there was no room at all: it goes ahead of what is written next
        return True

    def quiet(self) -> bool:
        return not self._received.pending and super().quiet()

    async def finish(self) -> None:
        with suppress(ssl.SSLError):  # that the client has not said the same is no fault
            self._tls.unwrap()
        with trio.move_on_after(LINGER), suppress(PeerGone):
            await self._flush()
        await super().finish()


_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C", "stateOrProvinceName": "ST", "localityName": "L"}


def subject_of(certificate: Any) -> str | None:
    """The subject of a certificate as `getpeercert` gives it, written as RFC 4514 does; None without one."""
    if not certificate:
        return None
    parts = [pair for part in reversed(certificate.get("subject", ())) for pair in part]
    return ",".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in parts)


def _escaped(value: str) -> str:
    return "".join(f"\\{letter}" if letter in ',+"\\<>;=#' else letter for letter in value)
