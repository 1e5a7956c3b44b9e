"""A tape at a glance, without reading it whole: its beginning and its end.

In: a path. Out: a `Glance`. Of a plain file a few kilobytes are read, of a compressed one all, as there is no other way to its end.
"""
from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs
import msgspec

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading

BEGINNING: Final = 50
"""Frames among which what was learned of the server is looked for."""
END: Final = 1 << 20
"""Bytes of the end that are looked at; a last frame that is larger is searched for from further back, four times."""
COUNTED: Final = 64 << 20
"""Bytes of a plain file up to which its lines are counted: a tenth of a second."""
SUFFIXES: Final = (".jsonl", ".jsonl.zst")


@attrs.frozen(kw_only=True)
class Glance:
    """`frames` are counted if that is quick (`counted`); of a large tape it is the number of the last one, those that were lost included."""

    path: Path
    size: int
    origin: float
    tool: str
    upstream: str
    era: str | None
    server: str | None
    session: str | None
    frames: int
    counted: bool
    seconds: float
    torn: bool


def glance(path: Path) -> Glance:
    """Raises `Unreadable` and `OSError`."""
    with Reading(path) as reading:
        header = reading.header
        first = list(islice(reading, BEGINNING))
        about = _about(first)
        last, torn, count = _last(path, reading, first)
    server = header.server if header.server is not None else about.get("server")
    return Glance(path=path, size=path.stat().st_size, origin=header.origin, tool=header.tool, upstream=header.upstream, era=header.era or about.get("era"),
                  server=_name(server), session=header.session, frames=count if count is not None else 0 if last is None else last.n,
                  counted=count is not None, seconds=0.0 if last is None else last.t, torn=torn)  # fmt: skip


def tapes_in(directory: Path) -> list[Path]:
    """The files there that are named as tapes are."""
    return sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIXES) and not path.name.startswith("."))


def _about(frames: list[Frame]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for frame in frames:
        if frame.kind == "about" and isinstance(value := frame.value(), dict):
            found |= value
    return found


def _name(server: Any) -> str | None:
    if isinstance(server, msgspec.Raw):
        server = msgspec.json.decode(server)
    if not isinstance(server, dict):
        return None
    return " ".join(str(server[key]) for key in ("name", "version") if server.get(key)) or None


def _last(path: Path, reading: Reading, first: list[Frame]) -> tuple[Frame | None, bool, int | None]:
    """The last whole frame, whether a torn line follows it, how many there are if they were counted."""
    if len(first) < BEGINNING or path.suffix == ".zst":
        last, number = (first[-1] if first else None), len(first)
        while (frame := reading.next()) is not None:
            last, number = frame, number + 1
        return last, reading.torn, number
    with path.open("rb") as file:
        size = file.seek(0, 2)
        count = _lines(file) if size <= COUNTED else None
        for span in (END, 4 * END, 16 * END, 64 * END):
            start = file.seek(max(0, size - span))
            tail = file.read()
            stop = tail.rfind(b"\n")
            begin = tail.rfind(b"\n", 0, stop)
            if begin >= 0:
                return reading.at(start + begin + 1), stop + 1 < len(tail), count
    return first[-1], True, count


def _lines(file: BinaryIO) -> int:
    """Of frames."""
    file.seek(0)
    count = -1
    while data := file.read(1 << 20):
        count += data.count(b"\n")
    return count
