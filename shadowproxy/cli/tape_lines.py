"""How the rows of a tape look in a terminal: one line each, in columns, with colour where that is wanted.

In: rows. Out: text without line ends (`whole` gives several lines). Colour and width are the terminal's; piped, or with NO_COLOR, there is no colour.
Nothing that a message says reaches the terminal as a control character: names and texts are spelled out where they are not printable.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from shadowproxy.tape.terminal import Terminal, plain
from shadowproxy.tape.viewing.rows import SUBJECTS

if TYPE_CHECKING:
    from shadowproxy.tape.frame import Frame
    from shadowproxy.tape.viewing.rows import Row

TIME, ARROW, SESSION, EXCHANGE, WHAT, TOOK, OUTCOME = 10, 2, 8, 6, 30, 8, 10
"""Columns of the columns; what is left is for the message."""
NARROW: Final = 90
"""Columns of a terminal below which sessions and exchanges are not shown."""
LEAST: Final = 10
"""Columns of a message below which it is not shown."""
_SIMPLE: Final = ("request", "notification", "response")
_STYLES: Final = {"dim": "dim", "c2s": "blue", "s2c": "green", "bad": "bold red", "ok": "green", "head": "bold"}


class Lines:
    """Text for rows. `colour` and `width` None: what standard output has."""

    def __init__(self, *, colour: bool | None = None, width: int | None = None) -> None:
        terminal = Terminal(sys.stdout, colour=colour, width=width)
        self._terminal, self.width = terminal, max(terminal.width, 40)
        self._narrow = self.width < NARROW
        rest = self.width - (TIME + ARROW + TOOK + OUTCOME + 4 + (0 if self._narrow else SESSION + EXCHANGE + 2))  # and a blank after each
        self._what = min(WHAT, rest)
        self._rest = rest - self._what - 1 if rest - self._what > LEAST else 0

    def paint(self, style: str, text: str) -> str:
        return self._terminal.paint(_STYLES[style], text)

    def head(self) -> str:
        """The names of the columns."""
        where = "" if self._narrow else f"{'session':<{SESSION}} {'exch':>{EXCHANGE}} "
        message = " message" if self._rest else ""
        return self.paint("head", f"{'time':>{TIME}} {'':<{ARROW}} {where}{'what':<{self._what}} {'took':>{TOOK}} {'outcome':<{OUTCOME}}{message}"[: self.width].rstrip())

    def line(self, row: Row) -> str:
        """One row, collapsed to the width."""
        frame = row.frame
        arrow = ("→" if frame.dir == "c2s" else "←") + ("" if frame.leg == "both" else frame.leg[0])
        exchange = "" if frame.exchange is None else str(frame.exchange)
        columns = [self.paint("dim", f"{frame.t:>{TIME}.3f}"), self.paint(frame.dir, f"{arrow:<{ARROW}}")]
        if not self._narrow:
            columns += [self.paint("dim", fitting(frame.session or "", SESSION)), self.paint("dim", f"{exchange:>{EXCHANGE}}")]
        columns += [self.paint("bad" if row.error else frame.dir, fitting(_what(row), self._what)), self.paint("dim", f"{span(row.duration):>{TOOK}}"),
                    self.paint("bad" if row.error else "ok", fitting(_outcome(row), OUTCOME))]  # fmt: skip
        if self._rest:
            columns.append(collapsed(frame, self._rest))
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


def span(seconds: float | None) -> str:
    """A duration, short."""
    if seconds is None:
        return ""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 99.995:
        return f"{seconds * 1000:.0f}ms" if seconds < 0.9995 else f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def size(count: float) -> str:
    """A number of bytes, short."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
