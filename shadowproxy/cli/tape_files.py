"""Paths that a user names -> tapes, with errors that say what is wrong and what next, and progress on standard error for long work.

In: words. Out: open readings (whoever asked closes them, `with`), or `ConfigError`. Nothing is shown where standard error is no terminal.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from shadowproxy.errors import ConfigError
from shadowproxy.tape.frame import Frame, Unreadable
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.viewing.listing import tapes_in

LONG = 32 << 20
"""Bytes of a tape from which on work on it shows its progress."""
EVERY = 4096
"""Frames between two looks at the progress."""


class Filter(Protocol):
    def __call__(self, row: object, /) -> bool: ...


@contextmanager
def faults() -> Iterator[None]:
    """What can be wrong with files becomes one clear line."""
    try:
        yield
    except Unreadable as error:
        hint = "" if "shadowproxy" in str(error) else "; for a recording of another tool: shadowproxy tape import FILE -o TAPE"
        raise ConfigError(f"{error}{hint if 'not a tape' in str(error) else ''}") from None
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
    return found


def watched(tape: Reading, what: str) -> Iterator[Frame]:
    """Its frames, with progress if there are many. A torn end and lines that cannot be read are told at the end."""
    bad = 0
    with progress(tape.path, what) as moved:
        for number, frame in enumerate(tape, 1):
            bad += frame.kind == "gap" and frame.dir == "s2c" and frame.text is not None and frame.text.startswith("line ")
            if number % EVERY == 0:
                moved(tape.offset)
            yield frame
    if bad:
        say(f"{tape.path}: {bad} line(s) could not be read; each stands as a gap")
    if tape.torn:
        say(f"{tape.path}: the last line is torn: the recorder died there, or is writing it")


@contextmanager
def progress(path: Path, what: str) -> Iterator[Callable[[int], None]]:
    """What to tell how many bytes are done; shown for large files on a terminal."""
    size = path.stat().st_size
    if size < LONG or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    total = None if path.suffix == ".zst" else size
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def say(text: str) -> None:
    """To the user, beside the output."""
    print(f"shadowproxy: {text}", file=sys.stderr)
