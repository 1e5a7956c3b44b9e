"""Reports of drift: graded changes -> text for people, JSON, or Markdown for a comment on a change.

In: changes under titles. Out: text written to a stream of the caller's, who closes that.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TextIO, TypeAlias

import msgspec
from rich.console import Console
from rich.text import Text

from shadowproxy.tape.comparing.schema_drift import GRADES, Change, Grade

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
        text_drift(found, Console(file=out, highlight=False, soft_wrap=True))


def text_drift(found: Titled, console: Console) -> None:
    for title, changes in found:
        if title:
            console.print(Text(title, "bold"))
        for change in changes:
            console.print(Text.assemble((f"{change.grade:<10}", COLOURS[change.grade]), str(change)))
    console.print(Text(f"drift: {summary(changes for _, changes in found)}"))


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
    """Text as it is, in a cell of a table: nothing that a server says becomes markup."""
    if not text:
        return ""
    text = text.replace("\n", " ").replace("\r", " ")
    fence = "`" * (max((len(run) for run in _runs_of_ticks(text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def _runs_of_ticks(text: str) -> list[str]:
    runs, run = [], ""
    for letter in text + " ":
        if letter == "`":
            run += letter
        elif run:
            runs.append(run)
            run = ""
    return runs
