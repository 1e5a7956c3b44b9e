"""The guard: while a test answers from its tape, nothing of this process reaches a network or starts a program.

In: a reason, for the time of a block. Out: `LiveAccess`, raised where it was tried, in any thread. An audit hook of Python sees every way there, whatever
library goes it, and replaces nothing; it cannot be taken away again, so there is one for good, and it only looks while a block is entered.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final

_reasons: Final[list[str]] = []
_installed: Final[list[bool]] = []
_ADDRESSED: Final = ("socket.connect", "socket.sendto", "socket.sendmsg")
_STARTING: Final = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
REPLAYING: Final = ["-m", "shadowproxy", "replay"]


class LiveAccess(RuntimeError):
    """A test that is to be answered from its tape tried something live."""


@contextmanager
def guarded(reason: str) -> Iterator[None]:
    """Refuse whatever is live. `reason` names the mark, and what would lift it."""
    if not _installed:
        sys.addaudithook(_look)
        _installed.append(True)
    _reasons.append(reason)
    try:
        yield
    finally:
        _reasons.remove(reason)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _reasons:
        return
    if event in _ADDRESSED:
        if not _is_here(arguments[1]):
            raise LiveAccess(f"a connection to {_words(arguments[1])} was tried; {_reasons[-1]}")
    elif event == "socket.getaddrinfo":
        if not (_is_near(arguments[0]) or _is_number(arguments[0])):  # a number is looked at when it is connected to
            raise LiveAccess(f"the address of {_words(arguments[0])} was looked up; {_reasons[-1]}")
    elif event in _STARTING and not _is_replay(arguments):
        raise LiveAccess(f"a program was started: {_command(arguments)}; {_reasons[-1]}")


def _is_here(address: Any) -> bool:
    """Unix sockets are paths; of the others only those of this machine. A datagram on a connected socket names none."""
    return not isinstance(address, tuple) or _is_near(address[0])


def _is_near(host: Any) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    try:
        return ip_address(_words(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_number(host: Any) -> bool:
    try:
        ip_address(_words(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _is_replay(arguments: tuple[Any, ...]) -> bool:
    """The command of a replaying server, which is live in nothing."""
    words = arguments[1] if len(arguments) > 1 else None
    return isinstance(words, list | tuple) and list(words[1:4]) == REPLAYING


def _command(arguments: tuple[Any, ...]) -> str:
    words = arguments[1] if len(arguments) > 1 else arguments[0]
    return " ".join(map(_words, words)) if isinstance(words, list | tuple) else _words(words)


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ":".join(map(_words, value[:2]))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
