"""The tape verbs that make files: filter, redact, convert, export, import.

In: what was asked for. Out: a file that is there when it is whole, what it holds in a line on standard error, an exit code.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from shadowproxy import __version__
from shadowproxy.cli import exits
from shadowproxy.cli.tape import wanted
from shadowproxy.cli.tape_files import existing, faults, reading, say, watched
from shadowproxy.cli.tape_lines import size
from shadowproxy.tape.exchanging.export_har import har
from shadowproxy.tape.exchanging.export_html import page
from shadowproxy.tape.exchanging.export_pytest import scenario
from shadowproxy.tape.exchanging.imports import open_foreign
from shadowproxy.tape.exchanging.writer import replacing, write_tape
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.redaction.redact import Redaction, Redactor, default_key
from shadowproxy.tape.viewing.choosing import Choice
from shadowproxy.tape.viewing.rows import Row, rows

HEAVY = 200 << 20
"""Bytes of a page from which on browsers are slow to open it."""
Format = Literal["har", "html", "pytest"]


def filter_(path: str, text: str, out: str, *, frames_only: bool) -> int:
    """A tape with the exchanges that the filter is true of."""
    chosen = wanted(text)
    with reading(path) as tape, faults():
        count = write_tape(Path(out), tape.header, _chosen(tape, chosen, whole=not frames_only))
    say(f"{out}: {count} frames")
    if not count:
        say("the filter is true of nothing on this tape; what there is: shadowproxy tape show")
    return exits.OK


def _chosen(tape: Reading, chosen: Callable[[Row], bool] | None, *, whole: bool = True) -> Iterator[Frame]:
    if chosen is None:
        yield from watched(tape, "reading")
        return
    choice = Choice(chosen, tape.header.era, whole=whole)
    choice.look(watched(tape, "choosing"))
    with Reading(tape.path) as again:
        yield from choice.frames(again)


def convert(path: str, out: str) -> int:
    """The same tape in the current version, compressed or not as the name says."""
    with reading(path) as tape, faults():
        count = write_tape(Path(out), tape.header, watched(tape, "converting"))
    say(f"{out}: {count} frames, {size(Path(out).stat().st_size)}")
    return exits.OK


def redact(path: str, out: str, *, keys: Sequence[str], pointers: Sequence[str], patterns: Sequence[str]) -> int:
    """The same tape without secrets: by the policy that recording has, and what was named beside it."""
    redactor = Redactor(Redaction(keys=tuple(keys), pointers=tuple(pointers), patterns=tuple(patterns)), default_key())
    found: Counter[str] = Counter()

    def clean(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            after = redactor.frame(frame)
            if after is not frame:
                found.update(after.redacted)
            yield after

    with reading(path) as tape, faults():
        count = write_tape(Path(out), redactor.header(tape.header), clean(watched(tape, "replacing secrets")))
    rules = ", ".join(f"{rule} {number}" for rule, number in sorted(found.items()))
    say(f"{out}: {count} frames, {f'in some of them something was replaced: {rules}' if rules else 'nothing in them to replace'}")
    return exits.OK


def export(path: str, text: str | None, format: Format, out: str) -> int:
    """For other programs: a HAR document, a page that plays the tape, a test."""
    chosen = wanted(text)
    with reading(path) as tape, faults(), replacing(Path(out)) as file:
        for piece in _exported(tape, _chosen(tape, chosen), format):
            file.write(piece)
    written = Path(out).stat().st_size
    say(f"{out}: {size(written)}")
    if format == "html" and written > HEAVY:
        say("browsers are slow with pages of that size; a filter makes it smaller: shadowproxy tape export TAPE 'tool:search' --format html -o OUT")
    return exits.OK


def _exported(tape: Reading, frames: Iterable[Frame], format: Format) -> Iterator[bytes]:
    if format == "har":
        return har(tape.header, frames, __version__)
    if format == "html":
        return page(tape.path.name, tape.header, rows(frames, tape.header.era))
    return scenario(tape.path, rows(frames, tape.header.era))


def import_(path: str, out: str) -> int:
    """A tape from another tool's recording."""
    with faults(), open_foreign(existing(path)) as found:
        count = write_tape(Path(out), found.header, found)
    say(f"{out}: {count} frames, from {found.header.tool}")
    for what, number in found.left_out.items():
        say(f"left out: {number} {what}")
    return exits.OK
