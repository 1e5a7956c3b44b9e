"""The tape verbs that show: list, show, tail, stats. `tape_files.py` opens what they are told, `tape_lines.py` says how it looks.

In: what was asked for. Out: text on standard output, an exit code. Plain blocking reads; nothing holds a tape whole.
"""
from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec

from shadowproxy.cli import exits
from shadowproxy.cli.tape_files import faults, reading, say, those_of, watched
from shadowproxy.cli.tape_lines import Lines, fitting, size, span
from shadowproxy.errors import ConfigError
from shadowproxy.tape.terminal import plain
from shadowproxy.tape.viewing.filters import FilterError, compile_filter
from shadowproxy.tape.viewing.listing import Glance, glance
from shadowproxy.tape.viewing.row_json import row_json
from shadowproxy.tape.viewing.rows import Row, rows
from shadowproxy.tape.viewing.stats import Statistics

NOTHING = "the filter is true of nothing on this tape; what there is: shadowproxy tape show TAPE"


def wanted(text: str | None) -> Callable[[Row], bool] | None:
    """The filter that was asked for; an error in it points at its column."""
    if text is None or not text.strip():
        return None
    try:
        return compile_filter(text)
    except FilterError as error:
        raise ConfigError(str(error)) from None


def list_(paths: Iterable[str], *, as_json: bool) -> int:
    """A line a tape."""
    names, code = those_of(paths), exits.OK
    if not as_json and names:
        print(Lines().paint("head", f"{'begun':<19} {'length':>8} {'frames':>9} {'size':>9}  {'era':<6} {'session':<8} {'server':<28} file"))
    for name in names:
        try:
            with faults():
                found = glance(name)
        except ConfigError as error:
            say(str(error))
            code = exits.USAGE
            continue
        print(msgspec.json.encode(attrs.asdict(found) | {"path": str(name)}).decode() if as_json else _listed(found))
    return code


def _listed(found: Glance) -> str:
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.origin))
    count = f"{'' if found.counted else '~'}{found.frames}"
    whose = f"{found.era or '':<6} {fitting(found.session or '', 8)} {fitting(found.server or found.upstream, 28)}"
    return f"{begun:<19} {span(found.seconds):>8} {count:>9} {size(found.size):>9}  {whose} {plain(str(found.path))}{'  (torn)' if found.torn else ''}"


def show(path: str, text: str | None, *, full: bool, as_json: bool) -> int:
    """The rows of a tape, those that the filter is true of."""
    chosen, some = wanted(text), False
    with reading(path) as tape:
        tell = _teller(full=full, as_json=as_json)
        if not as_json:
            print(Lines().head())
        for row in rows(watched(tape, "reading"), tape.header.era):
            if chosen is None or chosen(row):
                some = True
                tell(row)
    if not some:
        say(f"{path}: there is no message on this tape" if chosen is None else NOTHING)
    return exits.OK


def tail(path: str, text: str | None, *, last: int, full: bool, as_json: bool) -> int:
    """The last rows of a tape, or of the newest in a directory, then all that come, until Ctrl-C."""
    from shadowproxy.cli.tape_tail import follow

    if last < 0:
        raise ConfigError(f"--last must be 0 or more messages, not {last}")
    chosen = wanted(text)
    tell = _headed(_teller(full=full, as_json=as_json), several=Path(path).is_dir() and not as_json)
    past: deque[tuple[Path, Row]] | None = deque(maxlen=last)
    try:
        with faults():
            for item in follow(Path(path), say=say):
                if item is None:
                    for name, row in past or ():
                        tell(name, row)
                    past = None
                    sys.stdout.flush()
                elif chosen is None or chosen(item[1]):
                    if past is None:
                        tell(*item)
                    else:
                        past.append(item)
    except KeyboardInterrupt:
        pass  # how it ends
    return exits.OK


def stats(paths: Iterable[str], text: str | None, *, as_json: bool) -> int:
    """Counts and durations, of each tape or of all in a directory together."""
    chosen, found = wanted(text), Statistics()
    for name in those_of(paths):
        with reading(str(name)) as tape:
            for row in rows(watched(tape, "counting"), tape.header.era):
                if chosen is None or chosen(row):
                    found.add(row)
    for line in [msgspec.json.encode(found.told()).decode()] if as_json else counted(found.told()):
        print(line)
    return exits.OK


def counted(told: dict[str, Any]) -> Iterator[str]:
    """Statistics for people."""
    lines = Lines()
    yield f"{told['frames']} frames in {span(told['seconds'])}, {size(told['message_bytes'])} of messages, {told['sessions']} session(s)"
    if told["kinds"]:
        yield "  ".join(f"{name} {count}" for name, count in sorted(told["kinds"].items()))
    if told["lost"]:
        yield lines.paint("bad", f"{told['lost']} frames are missing")
    if told["redacted"]:
        yield "replaced: " + "  ".join(f"{plain(rule)} {count}" for rule, count in sorted(told["redacted"].items()))
    for what in ("methods", "tools"):
        if told[what]:
            yield ""
            yield lines.paint("head", f"{what:<40} {'count':>8} {'errors':>8} {'p50':>8} {'p95':>8} {'max':>8}")
        for name, of in sorted(told[what].items(), key=lambda item: -item[1]["count"]):
            errors = lines.paint("bad", f"{of['errors']:>8}") if of["errors"] else f"{0:>8}"
            yield f"{fitting(name, 40)} {of['count']:>8} {errors} {span(of['p50']):>8} {span(of['p95']):>8} {span(of['max']):>8}"


def _teller(*, full: bool, as_json: bool) -> Callable[[Row], None]:
    """What writes a row to standard output."""
    write, lines = sys.stdout.write, Lines()

    def tell(row: Row) -> None:
        if as_json:
            write(row_json(row).decode() + "\n")
        elif full:
            write("\n".join(lines.whole(row)) + "\n")
        else:
            write(lines.line(row) + "\n")

    return tell


def _headed(tell: Callable[[Row], None], *, several: bool) -> Callable[[Path, Row], None]:
    """The same with the tape's name above, where it changes."""
    shown: Path | None = None

    def told(name: Path, row: Row) -> None:
        nonlocal shown
        if several and name != shown:
            print(f"== {plain(name.name)}" if shown is None else f"\n== {plain(name.name)}")
        shown = name
        tell(row)

    return told
