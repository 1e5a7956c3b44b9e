"""The corpus: tables of inputs and exact answers, kept as data. One JSON object a line; `name` is unique within its table.

In: a table's name. Out: its rows. Bytes are written as text in latin-1, each character a byte; `["a", 1000]` stands for a thousand of them and
`null` for a pause, until all that was sent has been looked at. Tables without `by_hand` in their name are written by `generate.py`.
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Part: TypeAlias = "str | list[Any] | None"
CORPUS = Path(__file__).parent / "corpus"
TABLES = ("http_requests", "messages", "http_responses", "child_lines", "stdin_lines")


def rows(table: str) -> list[Row]:
    """A table's rows, generated ones first."""
    found: list[Row] = []
    for path in (CORPUS / f"{table}.jsonl", CORPUS / f"{table}_by_hand.jsonl"):
        if path.exists():
            found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


def families(table: str) -> dict[str, list[Row]]:
    """The same by their family, in the order of the file."""
    found: dict[str, list[Row]] = {}
    for row in rows(table):
        found.setdefault(row["family"], []).append(row)
    return found


def encoded(part: Part) -> bytes:
    """The bytes that a part stands for."""
    if part is None:
        return b""
    if isinstance(part, str):
        return part.encode("latin-1")
    text, count = part
    return str(text).encode("latin-1") * int(count)


def whole(parts: Sequence[Part]) -> bytes:
    return b"".join(encoded(part) for part in parts)


def strokes(parts: Sequence[Part], size: int | None) -> Iterator[bytes | None]:
    """What to send, one piece after the other: as much as comes between two pauses, or `size` bytes each. None is a pause."""
    data = b""
    for part in [*parts, None]:
        if part is not None:
            data += encoded(part)
            continue
        for start in range(0, len(data), size or max(1, len(data))):
            yield data[start : start + (size or len(data))]
        data = b""
        yield None
