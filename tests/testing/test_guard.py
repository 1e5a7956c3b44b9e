"""The guard: what is live is refused while its block runs, in any thread, and only then."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from shadowproxy.testing.guard import LiveAccess, guarded

REPLAY = [sys.executable, "-m", "shadowproxy", "replay", "/no/such/tape.jsonl"]


def connecting(address: tuple[object, ...], family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> Callable[[], object]:
    def connect() -> None:
        with socket.socket(family, kind) as sock:
            sock.setblocking(False)
            if kind == socket.SOCK_DGRAM:
                sock.sendto(b"x", address)
            else:
                sock.connect_ex(address)

    return connect


def starting(words: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(words, capture_output=True, check=False)


@pytest.mark.parametrize(("live", "words"), [
    (connecting(("192.0.2.1", 9)), "a connection to 192.0.2.1:9 was tried"),
    (connecting(("2001:db8::1", 9, 0, 0), socket.AF_INET6), "2001:db8::1:9"),
    (connecting(("192.0.2.1", 9), kind=socket.SOCK_DGRAM), "192.0.2.1:9"),
    (lambda: socket.getaddrinfo("example.org", 80), "the address of example.org was looked up"),
    (lambda: socket.getaddrinfo(b"example.org", 80), "example.org"),
    (starting(["true"]), "a program was started: true"),
    (starting([sys.executable, "-m", "shadowproxy", "forward"]), "shadowproxy forward"),
    (lambda: os.system("true"), "a program was started: true"),
    (lambda: os.posix_spawn("/bin/true", ["true"], {}), "true"),
])  # fmt: skip
def test_what_is_live_is_refused(live: Callable[[], object], words: str) -> None:
    with guarded("because of the mark"), pytest.raises(LiveAccess, match=f"{words}.*; because of the mark"):
        live()


@pytest.mark.parametrize("near", [
    connecting(("127.0.0.1", 1)), connecting(("127.8.8.8", 1)), connecting(("localhost", 1)), connecting(("::1", 1, 0, 0), socket.AF_INET6),
    lambda: socket.getaddrinfo("localhost", 80), lambda: socket.getaddrinfo(None, 80), lambda: socket.getaddrinfo("192.0.2.1", 80), starting(REPLAY),
])  # fmt: skip
def test_what_is_of_this_machine_is_not(near: Callable[[], object]) -> None:
    with guarded("no"):
        near()


def test_unix_sockets_are_of_this_machine() -> None:
    with guarded("no"), socket.socket(socket.AF_UNIX) as sock, pytest.raises(FileNotFoundError):
        sock.connect("/no/such/socket")


def test_only_within_the_block_and_in_every_thread() -> None:
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            subprocess.run(["true"], check=True)
        except LiveAccess as error:
            caught.append(error)

    with guarded("outer"):
        with guarded("inner"), pytest.raises(LiveAccess, match="inner"):
            subprocess.run(["true"], check=True)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "outer" in str(caught)
    subprocess.run(["true"], check=True)
