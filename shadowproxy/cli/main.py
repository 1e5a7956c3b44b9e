"""The command line's entry point: words -> a verb -> an exit code.

In: `sys.argv`. Out: the process's exit code. Everything after the first `--` is a command, verbatim, and never looked at for options.
A wrong word or setting is one clear line on standard error and exit code 2, before anything has started. The only `trio.run` is here.
"""
from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from shadowproxy.cli import exits
from shadowproxy.cli.verbs import VERBS
from shadowproxy.errors import ConfigError


def main() -> NoReturn:
    """Run what `sys.argv` asks for."""
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the signals were ours: while the program was still being loaded
        code = exits.CUT_SHORT
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run it, and give the exit code."""
    words, command = _split(list(argv))
    if command is not None and (not words or words[0] not in VERBS):
        words = ["forward", *words]
    if words[:1] == ["--version"]:
        from shadowproxy import __version__

        print(f"shadowproxy {__version__}")
        return exits.OK
    from shadowproxy.cli.words import parse

    try:
        return parse(words, command or [])
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"shadowproxy: {line}", file=sys.stderr)
        return exits.USAGE


def _split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    if "--" not in argv:
        return argv, None
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]
