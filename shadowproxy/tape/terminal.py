"""Lines for a terminal, or for what stands in its place: colour where it is wanted, and nothing that a message says as a control character.

In: styled parts of a line. Out: text written to a stream of the caller's, who closes that. There is no colour where the stream is no terminal, or with NO_COLOR.
"""
from __future__ import annotations

from functools import cache
from typing import Final, TextIO, TypeAlias

PIPED: Final = 160
"""Columns of a line for a reader that has no width."""
Part: TypeAlias = tuple[str, str]
"""A style, as rich names them ("bold red", or "" for none), and a text."""


class Terminal:
    """`colour` and `width` None: what the stream has."""

    def __init__(self, out: TextIO, *, colour: bool | None = None, width: int | None = None) -> None:
        from rich.console import Console  # slow to import, and not every verb writes lines

        console = Console(file=out)
        self._out = out
        self._colour = console.is_terminal and not console.no_color and console.color_system is not None if colour is None else colour
        self.width = width or (console.width if console.is_terminal else PIPED)

    def paint(self, style: str, text: str) -> str:
        """The text as it is, in that style."""
        if not self._colour or not style or text.isspace():
            return text
        before, after = _codes(style)
        return f"{before}{text}{after}"

    def line(self, *parts: Part) -> None:
        """A whole line, at once; whatever is not printable in it is spelled out."""
        self._out.write("".join(self.paint(style, plain(text)) for style, text in parts) + "\n")
        self._out.flush()


@cache
def _codes(style: str) -> tuple[str, str]:
    from rich.style import Style

    before, after = Style.parse(style).render("\0").split("\0")
    return before, after


def plain(text: str) -> str:
    """With every character that is not printable spelled out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
