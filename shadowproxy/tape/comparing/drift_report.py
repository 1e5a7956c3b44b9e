"""Reports of drift: graded changes -> text for people, JSON, or Markdown for a comment on a change.

In: changes under titles. Out: text written to a stream of the caller's, who closes that.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TextIO, TypeAlias

import msgspec

from shadowproxy.tape.comparing.schema_drift import GRADES, Change, Grade
from shadowproxy.tape.terminal import Terminal, plain

Format: TypeAlias = Literal["text", "json", "markdown"]
Titled: TypeAlias = Sequence[tuple[str, Sequence[Change]]]
COLOURS: Final[dict[Grade, str]] = {"breaking": "red", "dangerous": "magenta", "minor": "yellow", "info": "dim"}


def write_drift(found: Titled, format: Format, out: TextIO) -> None:
    """A title is empty where there is only one comparison."""
    if format == "json":
        drifts = [{**({"between": title} if title else {}), "changes": [change.as_json() for change in changes]} for title, changes in found]
        out.write(msgspec.json.encode({"drift": drifts}).decode() + "\n")
    elif format == "markdown":
        out.write(markdown_drift(found))
    else:
        text_drift(found, Terminal(out))


def text_drift(found: Titled, terminal: Terminal) -> None:
    for title, changes in found:
        if title:
            terminal.line(("bold", title))
        for change in changes:
            terminal.line((COLOURS[change.grade], f"{change.grade:<10}"), ("", str(change)))
    terminal.line(("", f"drift: {summary(changes for _, changes in found)}"))


def markdown_drift(found: Titled) -> str:
    lines = ["### Drift of the server's surface", "", summary(changes for _, changes in found).capitalize() + ".", ""]
    for title, changes in found:
        if title:
            lines += [f"#### {cell(title)}", ""]
        lines += ["| grade | what | where | change |", "|---|---|---|---|"]
        lines += [f"| {mark(change.grade)} | {cell(change.subject)} | {cell(change.pointer)} | {cell(str(change).partition(': ')[2])} |" for change in changes]
        lines.append("")
    return "\n".join(lines)


def summary(groups: Iterable[Sequence[Change]]) -> str:
    counts = Counter(change.grade for changes in groups for change in changes)
    return ", ".join(f"{counts[grade]} {grade}" for grade in GRADES if counts[grade]) or "none"


def mark(grade: Grade) -> str:
    return f"**{grade}**" if grade in ("breaking", "dangerous") else grade


def cell(text: str) -> str:
    """Text as it is, in a cell of a table: nothing that a server says becomes markup, or is there unseen."""
    if not text:
        return ""
    text = plain(text.replace("\n", " ").replace("\r", " "))
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")
