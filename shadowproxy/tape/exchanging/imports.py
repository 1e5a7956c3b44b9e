"""Recordings of other tools -> tapes: which tool made a file is seen from its beginning.

In: the path of a log of mcpsnoop, a cassette of npm's mcp-cassette, or one of PyPI's mcp-cassette. Out: an `Imported`: a header, frames that stream,
and a count of what a tape has no place for, for a `with` block. docs/tapes.md says what each format cannot tell.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from shadowproxy.tape.exchanging.imports_foreign import Imported
from shadowproxy.tape.exchanging.imports_mcpsnoop import Log
from shadowproxy.tape.exchanging.imports_npm import NpmCassette
from shadowproxy.tape.exchanging.imports_pypi import PypiCassette
from shadowproxy.tape.frame import Unreadable

FORMATS = "a log of mcpsnoop (.jsonl), a cassette of npm's mcp-cassette (.jsonl), a cassette of PyPI's mcp-cassette (.json)"
BEGINNING = 1 << 24
"""Bytes of the first line, which tells the JSON Lines formats apart."""


@contextmanager
def open_foreign(path: Path) -> Iterator[Imported]:
    """Raises `Unreadable` for what none of the formats is, and `OSError`."""
    try:
        with path.open("rb") as file:
            yield _kind(file)(file)
    except Unreadable as error:
        raise Unreadable(f"{path}: {error}") from None


def _kind(file: BinaryIO) -> type[Imported]:
    line = file.readline(BEGINNING)
    file.seek(0)
    try:
        first = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if line.lstrip().startswith(b"{"):
            return PypiCassette  # one JSON document over many lines
        first = {}
    if "tape" in first:
        raise Unreadable("this is a tape already; for another version or compression: shadowproxy tape convert IN OUT")
    if "cassetteVersion" in first:
        return NpmCassette
    if "direction" in first and "session_id" in first:
        return Log
    if "messages" in first:
        return PypiCassette
    raise Unreadable(f"none of the recordings that can be read: {FORMATS}")
