"""Who may talk to us: the Host and Origin rules that keep DNS rebinding and foreign web pages out.

In: the two header values. Out: yes or no, remembered. Source: 2025-11-25, basic/transports.mdx, "Security Warning"; an Origin that is
present and not known is answered 403 (a MUST since that revision). Loopback is always welcome; more names are a setting.
"""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]/?#@:\\]+)(?::([0-9]{0,9}))?", re.ASCII | re.IGNORECASE)
_REMEMBERED = 256
"""Distinct values remembered; a client that makes up more is judged anew each time."""


class Origins:
    """`listening`: the hosts that we are bound to; `hosts` and `origins`: the settings, "*" for any."""

    def __init__(self, listening: Iterable[str], hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._names = _LOOPBACK | {name.lower() for name in listening} | {name.lower().strip("[]") for name in hosts}
        self._wildcard = bool({"0.0.0.0", "::", ""} & self._names)  # noqa: S104 -- compared with, not bound to
        self._any_host = "*" in self._names
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._known: dict[tuple[bool, bytes], bool] = {}

    def host(self, value: bytes) -> bool:
        """Whether this Host may be asked for here."""
        known = self._known.get((True, value))
        return known if known is not None else self._remember((True, value), self._host(value))

    def origin(self, value: bytes) -> bool:
        """Whether a page of this Origin may send requests here."""
        known = self._known.get((False, value))
        return known if known is not None else self._remember((False, value), self._origin(value))

    def _remember(self, key: tuple[bool, bytes], verdict: bool) -> bool:
        if len(self._known) < _REMEMBERED:
            self._known[key] = verdict
        return verdict

    def _host(self, value: bytes) -> bool:
        name = _name_in(value.decode("latin-1"))
        if name is None:
            return False
        return self._any_host or name in self._names or (self._wildcard and _is_address(name))

    def _origin(self, value: bytes) -> bool:
        text = value.decode("latin-1").lower().rstrip("/")
        if "*" in self._origins or text in self._origins:
            return True
        scheme, _, authority = text.partition("://")
        name = _name_in(authority) if scheme in ("http", "https") else None
        return name is not None and name in self._names


def _name_in(authority: str) -> str | None:
    """The name in HOST or HOST:PORT, an IPv6 address without its brackets; None if it is anything else."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found[2] or 0) > 65535:
        return None
    return found[1].strip("[]").lower()


def _is_address(name: str) -> bool:
    """An address cannot be rebound: a page that reaches us by it was served by us."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
