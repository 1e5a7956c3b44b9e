"""How the rows of a tape look in a terminal: one line each, in columns, with colour where that is wanted.

In: rows. Out: text without line ends (`whole` gives several lines). Colour and width are the terminal's; piped, or with NO_COLOR, there is no colour.
Nothing that a message says reaches the terminal as a control character: names and texts are spelled out where they are not printable.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from shadowproxy.tape.viewing.rows import SUBJECTS

if TYPE_CHECKING:
    from shadowproxy.tape.frame import Frame
    from shadowproxy.tape.viewing.rows import Row

PIPED: Final = 160
"""Columns of a line for a reader that has no width."""
WHAT, SESSION, LEAST = 30, 8, 20
_SIMPLE: Final = ("request", "notification", "response")
_STYLES: Final = {"dim": "dim", "c2s": "blue", "s2c": "green", "bad": "bold red", "ok": "green", "head": "bold"}


class Lines:
    """Text for rows. `colour` and `width` None: what standard output has."""

    def __init__(self, *, colour: bool | None = None, width: int | None = None) -> None:
        from rich.console import Console
        from rich.style import Style

        console = Console(file=sys.stdout)
        colour = console.is_terminal and not console.no_color and console.color_system is not None if colour is None else colour
        self.width = max(width or (console.width if console.is_terminal else PIPED), 40)
        self._paint = {name: tuple(Style.parse(style).render("\0").split("\0")) if colour else ("", "") for name, style in _STYLES.items()}
        self._rest = max(self.width - (10 + 2 + SESSION + 6 + WHAT + 8 + 10 + 7), LEAST)  # the other columns, and a blank after each

    def paint(self, style: str, text: str) -> str:
        before, after = self._paint[style]
        return f"{before}{text}{after}" if not text.isspace() else text

    def head(self) -> str:
        """The names of the columns."""
        return self.paint("head", f"{'time':>10}    {'session':<{SESSION}} {'exch':>6} {'what':<{WHAT}} {'took':>8} {'outcome':<10} message")

    def line(self, row: Row) -> str:
        """One row, collapsed to the width."""
        frame, bad = row.frame, bool(row.error)
        outcome = _outcome(row)
        arrow = ("→" if frame.dir == "c2s" else "←") + ("" if frame.leg == "both" else frame.leg[0])
        exchange = "" if frame.exchange is None else str(frame.exchange)
        columns = (
            self.paint("dim", f"{frame.t:>10.3f}"), self.paint(frame.dir, f"{arrow:<2}"), self.paint("dim", fitting(frame.session or "", SESSION)), self.paint("dim", f"{exchange:>6}"),
            self.paint("bad" if bad else frame.dir, fitting(_what(row), WHAT)), self.paint("dim", f"{span(row.duration):>8}"),
            self.paint("bad" if bad else "ok", f"{outcome:<10}"), collapsed(frame, self._rest),
        )  # fmt: skip
        return " ".join(columns).rstrip()

    def whole(self, row: Row) -> Iterator[str]:
        """The row's line without its message, then all that the frame holds."""
        frame = row.frame
        yield self.line(msgspec.structs.replace(row, frame=msgspec.structs.replace(frame, message=None, text=None, sse=None)))
        if frame.http is not None:
            yield f"    HTTP {frame.http.method or frame.http.status or ''}".rstrip()
            for name, value in frame.http.headers:
                yield f"    {plain(name)}: {plain(value)}"
        if frame.sse is not None:
            yield f"    event {plain(msgspec.json.encode(frame.sse).decode())}"
        if frame.message is not None:
            for line in msgspec.json.format(bytes(frame.message), indent=2).decode("utf-8", "replace").split("\n"):
                yield f"    {plain(line)}"
        elif frame.text:
            for line in frame.text.split("\n"):
                yield f"    {plain(line)}"


def _what(row: Row) -> str:
    kind, subject = row.frame.kind, (row.tool or row.prompt or row.resource) if row.method in SUBJECTS else None
    return " ".join(word for word in ("" if kind in _SIMPLE else kind, row.method, subject) if word)


def _outcome(row: Row) -> str:
    frame = row.frame
    if frame.kind == "refusal" and frame.http is not None and frame.http.status:
        return f"HTTP {frame.http.status}"
    if frame.kind in ("response", "refusal"):
        return "error" if row.error else "ok"
    return "cancelled" if frame.kind == "cancelled" else ""


def collapsed(frame: Frame, width: int) -> str:
    """The beginning of what a frame says."""
    return fitting(_said(frame, width), width).rstrip()


def _said(frame: Frame, width: int) -> str:
    if frame.message is not None:
        members = frame.members()
        part = members.get("params", members.get("result", members.get("error", frame.message if frame.kind == "about" else b"")))
        return bytes(part)[: 4 * width + 4].decode("utf-8", "ignore")
    if frame.kind == "gap":
        return f"{frame.lost or '?'} frame(s) missing: {frame.text or ''}"
    if frame.sse is not None:
        return " ".join(filter(None, (frame.sse.event, f"id {frame.sse.id}" if frame.sse.id else None, frame.sse.data)))[: 2 * width]
    return " ".join(filter(None, (frame.error, (frame.text or "")[: 2 * width])))


def fitting(text: str, width: int) -> str:
    """Exactly that many columns: filled up, or cut with an ellipsis."""
    if text.isascii() and text.isprintable():
        return f"{text:<{width}}" if len(text) <= width else f"{text[: width - 1]}…"
    from rich.cells import cell_len, set_cell_size

    text = plain(text)
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def plain(text: str) -> str:
    """With every character that is not printable spelled out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def span(seconds: float | None) -> str:
    """A duration, short."""
    if seconds is None:
        return ""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f}ms"
    return f"{seconds * 1000:.0f}ms" if seconds < 0.9995 else f"{seconds:.2f}s" if seconds < 100 else f"{seconds:.0f}s"


def size(count: float) -> str:
    """A number of bytes, short."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
