"""Paths that a user names -> tapes, with errors that say what is wrong and what next, and progress on standard error for long work.

In: words. Out: open readings (whoever asked closes them, `with`), or `ConfigError`. Progress is only shown on a terminal.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shadowproxy.errors import ConfigError
from shadowproxy.tape.frame import Frame, Unreadable
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.viewing.listing import tapes_in

LONG = 2.0
"""Seconds after which work on a tape shows its progress."""
EVERY = 0.2
"""Seconds from one picture of the progress to the next."""


@contextmanager
def faults() -> Iterator[None]:
    """What can be wrong with files becomes one clear line."""
    try:
        yield
    except Unreadable as error:
        hint = "; for a recording of another tool: shadowproxy tape import FILE -o TAPE" if "not a tape" in str(error) else ""
        raise ConfigError(f"{error}{hint}") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None:
            raise
        raise ConfigError(f"{error.filename}: {error.strerror}") from None


@contextmanager
def reading(path: str) -> Iterator[Reading]:
    """That tape, open."""
    with faults(), Reading(existing(path)) as tape:
        yield tape


def existing(path: str) -> Path:
    """A file, not a directory."""
    found = Path(path)
    if found.is_dir():
        raise ConfigError(f"{path} is a directory; name one tape in it: shadowproxy tape list {path}")
    if not found.exists():
        raise ConfigError(f"{path}: there is no such file; what there is: shadowproxy tape list DIRECTORY")
    return found


def those_of(paths: Iterable[str]) -> list[Path]:
    """Files as they are named, directories by the tapes in them."""
    found: list[Path] = []
    for path in paths:
        directory = Path(path)
        with faults():
            found += tapes_in(directory) if directory.is_dir() else [existing(path)]
    if not found:
        say("no tapes there: files named *.jsonl or *.jsonl.zst, as --record makes them")
    return found


def watched(tape: Reading, what: str) -> Iterator[Frame]:
    """Its frames, with progress if it takes long. A torn end and lines that cannot be read are told at the end."""
    bad, size = 0, None if tape.path.suffix == ".zst" else tape.path.stat().st_size
    with progress(what) as moved:
        for frame in tape:
            bad += frame.kind == "gap" and frame.dir == "s2c" and frame.text is not None and frame.text.startswith("line ")
            moved(tape.offset, size)
            yield frame
    if bad:
        say(f"{tape.path}: {bad} line(s) could not be read; each stands as a gap")
    if tape.torn:
        say_torn(tape.path)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """What to tell how many bytes are done, of how many (None: nobody knows); on a terminal it is shown when it takes long."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    task, due = bar.add_task(what, total=None), time.monotonic() + LONG

    def moved(done: int, total: int | None) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + EVERY
            bar.start()
            bar.update(task, completed=done, total=total, refresh=True)

    try:
        yield moved
    finally:
        bar.stop()


def say_torn(path: Path) -> None:
    say(f"{path}: the last line is torn: the recorder died there, or is writing it")


def say(text: str) -> None:
    """To the user, beside the output."""
    print(f"shadowproxy: {text}", file=sys.stderr)
