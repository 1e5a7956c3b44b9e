"""What the readers of foreign recordings share: the header of the tape to be, frames, a count of what was left out.

In: an open file, which is its caller's. Out: iterating gives the frames, once.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from shadowproxy.tape.frame import Frame, Header, Unreadable


class Imported(ABC):
    """`left_out`: what a tape has no place for, by what it was."""

    header: Header

    def __init__(self, file: BinaryIO) -> None:
        self.left_out: Counter[str] = Counter()
        self._file = file
        self.begin()

    @abstractmethod
    def begin(self) -> None:
        """Read as far as the header needs, and set it. Raises `Unreadable`."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...


def unix_time(text: str) -> float:
    """Of an ISO 8601 time. Raises `Unreadable`."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Unreadable(f"not a time: {text!r}") from None


def decoded(data: bytes, type: Any, what: str) -> Any:
    """As that type; raises `Unreadable`."""
    try:
        data.decode()
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not {what}: {error}") from None
