"""The tape verbs that make files: filter, redact, convert, export, import.

In: what was asked for. Out: a file that is there when it is whole, what it holds in a line on standard error, an exit code.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from shadowproxy import __version__
from shadowproxy.cli import exits
from shadowproxy.cli.tape import NOTHING, wanted
from shadowproxy.cli.tape_files import existing, faults, reading, say, watched
from shadowproxy.cli.tape_lines import size
from shadowproxy.tape.exchanging.export_har import har
from shadowproxy.tape.exchanging.export_html import page
from shadowproxy.tape.exchanging.export_pytest import scenario
from shadowproxy.tape.exchanging.imports import open_foreign
from shadowproxy.tape.exchanging.writer import replacing, write_tape
from shadowproxy.tape.frame import Frame, Header
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.redaction.redact import Redaction, Redactor, default_key
from shadowproxy.tape.redaction.redaction_key import VARIABLE
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
    say(f"{out}: {count} frame(s)")
    return exits.OK


def _chosen(tape: Reading, chosen: Callable[[Row], bool] | None, *, whole: bool = True) -> Iterator[Frame]:
    if chosen is None:
        yield from watched(tape, "reading")
        return
    choice = Choice(chosen, tape.header.era, whole=whole)
    if not choice.look(watched(tape, "choosing")):
        say(NOTHING)
    with Reading(tape.path) as again:
        yield from choice.frames(again)


def convert(path: str, out: str) -> int:
    """The same tape in the current version, compressed or not as the name says."""
    with reading(path) as tape, faults():
        count = write_tape(Path(out), tape.header, watched(tape, "converting"))
    say(f"{out}: {count} frame(s), {size(Path(out).stat().st_size)}")
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
        header = _redacted_header(tape, redactor)
        count = write_tape(Path(out), header, clean(watched(tape, "replacing secrets")))
    rules = ", ".join(f"{rule} {number}" for rule, number in sorted(found.items()))
    say(f"{out}: {count} frames, {f'in some of them something was replaced: {rules}' if rules else 'nothing in them to replace'}")
    return exits.OK


def _redacted_header(tape: Reading, redactor: Redactor) -> Header:
    """Another key than the recording's joins it in the header, so that nobody compares tokens of two keys; unless there is nothing to replace with it."""
    before, after = tape.header, redactor.header(tape.header)
    if before.key is None or after.key == before.key:
        return after
    if (after.upstream, after.server) == (before.upstream, before.server):
        with Reading(tape.path) as again:
            if all(redactor.frame(frame) is frame for frame in again):
                return msgspec.structs.replace(after, key=before.key)
    say(f"{tape.path}: its tokens are of another key ({before.key}) than yours ({redactor.fingerprint}): the same secret may now have two, the header names both keys,"
        f" and replay takes any value for a token; to keep them comparable, redact it with the recording's key in ${VARIABLE}")  # fmt: skip
    return after


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
    say(f"{out}: {count} frame(s), from {found.header.tool}")
    for what, number in found.left_out.items():
        say(f"left out: {what}: {number}")
    return exits.OK
