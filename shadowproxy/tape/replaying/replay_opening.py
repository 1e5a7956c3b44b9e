"""A tape that is opened for replay: settings -> a `TapeUpstream`, with what it needs to know of redaction and the live server behind it.

In: a tape's path, `Replay` settings. Out: an `Upstream` while the block runs; leaving it closes the tape. Raises `ConfigError` for what is no tape.
A tape of more than `SMALL` bytes is read through in a thread. A compressed one is decompressed to a temporary file, because replay reads here and there.
"""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import trio

from shadowproxy.config import Replay
from shadowproxy.errors import ConfigError
from shadowproxy.exchange import Upstream
from shadowproxy.service import running
from shadowproxy.tape.frame import Header, Unreadable
from shadowproxy.tape.matching.match import Matching
from shadowproxy.tape.reader import Reading, open_bytes
from shadowproxy.tape.redaction.redact import DEFAULT, Redactor, default_key
from shadowproxy.tape.redaction.redaction_key import VARIABLE, key_file
from shadowproxy.tape.replaying.appending import open_appending
from shadowproxy.tape.replaying.index import read_index
from shadowproxy.tape.replaying.live_server import LiveServer
from shadowproxy.tape.replaying.replay import TapeUpstream

SMALL = 1 << 20


def check(path: Path) -> None:
    """Whether it is a tape, before anything starts. Raises `ConfigError`."""
    with _told(path), Reading(path):
        pass


@asynccontextmanager
async def open_replay(path: Path, replay: Replay, live: Upstream | None = None) -> AsyncIterator[TapeUpstream]:
    """Answer from the tape at `path`; what is not on it is asked of `live`, as `replay.on_miss` says."""
    if replay.on_miss == "record" and path.suffix == ".zst":
        raise ConfigError(f"{path}: nothing can be appended to a compressed tape; convert it first: shadowproxy tape convert")
    async with AsyncExitStack() as stack:
        with _told(path):
            reading = stack.enter_context(Reading(stack.enter_context(_seekable(path))))
            redactor, matching = understand(reading.header, replay)
            if os.stat(reading.path).st_size <= SMALL:
                columns = read_index(reading, matching)
            else:
                columns = await trio.to_thread.run_sync(read_index, reading, matching)
            appending = None
            if replay.on_miss == "record":
                policy = redactor or (None if reading.header.redaction == "none" else Redactor(DEFAULT, default_key()))
                appending = await stack.enter_async_context(open_appending(path, reading.offset, reading.header, columns, policy))
        behind = None if live is None else LiveServer(live, await stack.enter_async_context(running()), appending)
        yield TapeUpstream(reading, columns, replay, matching, behind)


def open_reading(reading: Reading, replay: Replay) -> TapeUpstream:
    """A small tape that answers, without a task or a thread."""
    _, matching = understand(reading.header, replay)
    return TapeUpstream(reading, read_index(reading, matching), replay, matching)


def understand(header: Header, replay: Replay) -> tuple[Redactor | None, Matching]:
    """When a request is one of this tape's. With what makes of a live request what the recorder made of a recorded one, where the key of the tape's tokens is
    known here."""
    redactor = None
    if header.key is not None and (VARIABLE in os.environ or key_file().exists()):
        known = Redactor(DEFAULT, default_key())
        redactor = known if known.fingerprint == header.key else None
    return redactor, Matching(replay.ignore) if redactor is None else Matching(replay.ignore, redactor.message, redactor.stands_for)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except Unreadable as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


@contextmanager
def _seekable(path: Path) -> Iterator[Path]:
    """The tape, where one can read here and there."""
    if path.suffix != ".zst":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="shadowproxy-") as folder:
        plain = Path(folder) / path.stem
        with open_bytes(path) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file)
        yield plain
