"""The ways through the proxy to a server: {reverse, forward --listen, forward on stdio} x {HTTP behind, stdio behind}, as programs.

`open_doors` starts those that listen; those on stdio are started by each client for itself.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeAlias

from mcp.client._transport import Transport
from person import stdio_front
from programs import SHADOWPROXY, Program

Door: TypeAlias = Callable[[], "str | Transport"]
"""Gives what an SDK client connects to."""

WAYS = ("reverse", "forward --listen", "forward")
LISTENING = WAYS[:2]
BEHIND = ("http", "stdio")


@contextmanager
def open_doors(url: str, command: Sequence[str], ways: Sequence[str] = WAYS) -> Iterator[dict[tuple[str, str], Door]]:
    """By way and by what is behind: the server at `url`, or `command`."""
    targets = {"http": [url], "stdio": ["--", *command]}
    with ExitStack() as stack:
        doors: dict[tuple[str, str], Door] = {}
        for behind, target in targets.items():
            for way in ways:
                if way in LISTENING:
                    proxy = stack.enter_context(Program([*SHADOWPROXY, way.split()[0], "--listen", "127.0.0.1:0", *target]))
                    doors[way, behind] = partial(getattr, proxy, "url")
                else:
                    doors[way, behind] = partial(stdio_front, [*SHADOWPROXY, way, *target])
        yield doors
