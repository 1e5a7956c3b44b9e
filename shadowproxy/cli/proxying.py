"""The verbs `forward` and `reverse`: settings -> a running proxy -> an exit code.

In: a file's name, the target, the command, options by path. Out: the exit code. `trio.run` is here, once for all verbs (`start`).
"""
from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from shadowproxy.cli import exits, logs
from shadowproxy.cli.settings import settle
from shadowproxy.cli.signals import run_until_signalled
from shadowproxy.config import Config
from shadowproxy.downstream.listen import CannotListen
from shadowproxy.downstream.tls import BadCertificate
from shadowproxy.errors import ConfigError
from shadowproxy.service import first_of

COLLECT = 10_000
"""Objects made and not freed between two looks of the cycle collector: more than some hundred exchanges in flight hold (Python's own: 700 to 2000)."""


def forward(file: str | None, target: str | None, command: Sequence[str], options: dict[str, Any]) -> int:
    """stdio in; with listeners, HTTP in, each client with a session of its own upstream."""
    config = settle(file, target, command, options)
    return start(config if config.listen else attrs.evolve(config, stdio=True))


def reverse(file: str | None, target: str | None, command: Sequence[str], options: dict[str, Any]) -> int:
    """HTTP in."""
    config = settle(file, target, command, options)
    if not config.listen:
        raise ConfigError("reverse needs --listen HOST:PORT, as in: shadowproxy reverse --listen 127.0.0.1:8080 -- my-server")
    return start(config)


def start(config: Config) -> int:
    """Run a proxy for these settings until it ends."""
    logs.configure(config.log.level, config.log.format)
    ease_collection()
    return run(partial(run_until_signalled, config))


def ease_collection() -> None:
    """Let Python's cycle collector look at what a proxy makes, not at its modules, and less often: an exchange leaves no cycle behind, but with 500
    in flight the collector took a quarter of the CPU and its full passes were the slowest requests (docs/design.md, "Speed")."""
    gc.freeze()
    gc.set_threshold(COLLECT)


def run(program: Callable[[], Awaitable[int]]) -> int:
    """The only `trio.run`. What cannot be listened on is one line; anything else that escapes is a bug, and loud."""
    code = exits.CANNOT_LISTEN
    try:
        code = trio.run(program)
    except* (CannotListen, BadCertificate) as group:
        error = first_of(group)
        print(f"shadowproxy: {error.strerror if isinstance(error, CannotListen) else error}", file=sys.stderr)
    except* ConfigError as group:
        print(f"shadowproxy: {first_of(group)}", file=sys.stderr)
        code = exits.USAGE
    except* KeyboardInterrupt:
        code = exits.CUT_SHORT
    return code
