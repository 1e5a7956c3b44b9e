"""A recording that runs: settings -> a recorder with its files.

In: `Record` settings, what stands behind the proxy. Out: a running `Recorder`; leaving the block writes what waits and closes the tapes.
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from shadowproxy.config import Config, Record
from shadowproxy.errors import ConfigError
from shadowproxy.service import running
from shadowproxy.tape.frame import Header
from shadowproxy.tape.recording import store
from shadowproxy.tape.recording.recorder import Recorder
from shadowproxy.tape.recording.track import Track
from shadowproxy.tape.redaction.redact import Redaction, Redactor, default_key


@asynccontextmanager
async def open_recorder(record: Record, upstream: str) -> AsyncIterator[Recorder]:
    """Record while the block runs. `upstream` is for the header. Raises `ConfigError` where nothing could be written."""
    if record.compress:
        store.zstd()
    redactor = redactor_for(record)
    path = Path(record.path)
    _check(path, record.per_session)

    def header(track: Track) -> Header:
        tool, python = store.tools()
        plain = Header(tool=tool, python=python, origin=recorder.origin, upstream=upstream, session=track.name or None)
        return plain if redactor is None else redactor.header(plain)

    rotation = store.Rotation(size=record.rotate_size, age=record.rotate_age, keep=record.keep, compress=record.compress)
    files = store.Store(path, header, per_session=record.per_session, rotation=rotation)
    recorder = Recorder(files, redactor, per_session=record.per_session, buffer=record.buffer, durability=record.durability)
    async with running(recorder.run):
        yield recorder


def redactor_for(record: Record) -> Redactor | None:
    if record.redaction == "none":
        return None
    return Redactor(Redaction(keys=record.redact_keys, pointers=record.redact_pointers, patterns=record.redact_patterns), default_key())


def name_of(config: Config) -> str:
    """What stands behind the proxy, without what may be a credential: a URL's query, a command's arguments. (The settings allow no URL with a user.)"""
    upstream = config.upstream
    if upstream.url is None:
        return upstream.command[0] if upstream.command else upstream.tape or ""
    return urlsplit(upstream.url)._replace(query="").geturl()


def _check(path: Path, is_directory: bool) -> None:
    """Before anything runs, so that nobody believes to be recorded who is not."""
    folder = path if is_directory else path.parent
    if not is_directory and path.is_dir():
        raise ConfigError(f"record.path {path}: is a directory, though its name is that of a file; name a file in it, or a directory that does not end in {store.SUFFIX}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{path.name}.probe"
        store.open_private(probe).close()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"record.path {path}: cannot be written ({error.strerror}); choose another place, or make that one writable") from None
