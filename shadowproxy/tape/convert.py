"""Tapes of older versions, brought up to the current one line by line. Pure code.

In: the version that a header names, and lines. Out: lines of the version after it, step by step. A step never looks ahead, so that a tape of
any size streams through. The chain begins with version 1: what a new version changes gets a step here and a fixture in tests/tape/versions/.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from shadowproxy.tape.frame import VERSION, Unreadable
from shadowproxy.wire.jsonrpc import decode_object, encode

Line: TypeAlias = dict[str, Any]
Step: TypeAlias = Callable[[Line, bool], Line]
"""One line (the header if the second argument is true) of version N as one of version N + 1. Values are raw: what a step leaves alone stays byte for byte."""
STEPS: Final[Mapping[int, Step]] = {}
"""By the version that they start from."""


def version_of(line: bytes) -> int:
    """The version that a header line names. Raises `Unreadable` for one that is none."""
    try:
        header = msgspec.json.decode(line)
        version = header["tape"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        raise Unreadable(_no_header(line)) from None
    if type(version) is not int or version < 1:
        raise Unreadable(f"not a tape: its header names the version {version!r}")
    return version


def _no_header(line: bytes) -> str:
    """What such a file is, if it looks like something that users have."""
    if not line:
        return "there is nothing in it, not even a header: its recorder died at once, or the file was cut short"
    if line.startswith(b"\x1f\x8b"):
        return "it is compressed with gzip: unpack it first (gunzip); tapes are compressed with zstd, and named .jsonl.zst"
    if line.startswith(b"\x28\xb5\x2f\xfd"):
        return "it is compressed with zstd, and not named so: its name must end in .zst"
    if line.startswith(b'{"tape":') and not line.endswith(b"\n"):
        return "its header is cut short: its recorder died there, or is writing it"
    return 'not a tape: its first line must be a header, as in {"tape":1,…}'


def converter(version: int, to: int = VERSION, steps: Mapping[int, Step] = STEPS) -> Callable[[bytes, bool], bytes]:
    """What brings the lines of such a tape up to version `to`. Raises `Unreadable` for a version from the future, or from no chain."""
    if version > to:
        raise Unreadable(f"a tape of version {version}, made by a newer shadowproxy; this one reads up to {to}")
    if any(number not in steps for number in range(version, to)):
        raise Unreadable(f"no converter leads from version {version} to {to}")

    def convert(line: bytes, is_header: bool) -> bytes:
        if version == to:
            return line
        try:
            line.decode()
            value: Line = decode_object(line)
            for number in range(version, to):
                value = steps[number](value, is_header)
            return encode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"not a line of a tape of version {version}: {error!r}") from None

    return convert
