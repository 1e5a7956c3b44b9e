"""TLS for listeners: certificates that can be renewed without a restart.

In: file names. Out: an `SSLContext` for the next handshake. Owns no task: a renewal is noticed at a handshake.
"""
from __future__ import annotations

import logging
import os
import ssl

import trio

from shadowproxy.config import Tls

log = logging.getLogger("shadowproxy")

LOOK = 1.0
"""Seconds between two looks at the files."""


class BadCertificate(ValueError):
    """A certificate or key that cannot be used; the message names the file and the mend."""


class Certificates:
    """The server's certificate and key, and whom it believes clients by. Raises `BadCertificate` at once if they cannot be used."""

    def __init__(self, settings: Tls) -> None:
        self._settings = settings
        self._stamp = self._look()
        self._context = self._load()
        self._looked = 0.0

    def context(self) -> ssl.SSLContext:
        """For the next handshake. A renewed pair is taken up; one that cannot be loaded is logged, and the old one stays."""
        now = trio.current_time()
        if now - self._looked > LOOK:
            self._looked = now
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._load()
            log.info("the TLS certificate was renewed", extra={"cert": self._settings.cert})
        except BadCertificate as error:
            log.error("the renewed TLS certificate cannot be used; the old one stays", extra={"reason": str(error)})

    def _look(self) -> tuple[float, ...]:
        return tuple(_changed(name) for name in (self._settings.cert, self._settings.key, self._settings.client_ca) if name is not None)

    def _load(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2", "http/1.1"])
        try:
            context.load_cert_chain(settings.cert, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise BadCertificate(f"the certificate {settings.cert} with the key {settings.key} cannot be used: {error}") from None
        if settings.client_ca is not None:
            try:
                context.load_verify_locations(settings.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise BadCertificate(f"the client authority {settings.client_ca} cannot be used: {error}") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _changed(name: str) -> float:
    try:
        return os.stat(name).st_mtime
    except OSError:
        return 0.0
