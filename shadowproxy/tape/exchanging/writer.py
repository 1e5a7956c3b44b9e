"""Writing a tape whole: a header and frames, one after the other -> a file that is there when it is complete, or not at all.

In: a path (`.zst` is written as what it says), a header, frames. Out: how many frames. Streams: a few hundred frames are held at a time, or a megabyte. The recorder
appends by itself (`store.py`); this is for tapes made from tapes. Readable for its owner only, as a recording may be private.
"""
from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from shadowproxy.tape.frame import Frame, Header, Unreadable, encode_frames, encode_header

BATCH: Final = 256
"""Frames that are encoded and written at once, unless their messages are large:"""
BATCH_BYTES: Final = 1 << 20
"""then as many as have this, and one message at least."""


def write_tape(path: Path, header: Header, frames: Iterable[Frame]) -> int:
    """Write it, and give the number of frames. An error midway leaves what was at `path` before. Raises `OSError`, `Unreadable`."""
    count = 0
    with replacing(path) as file:
        file.write(encode_header(header))
        for batch in batches(frames):
            file.write(encode_frames(batch))
            count += len(batch)
    return count


def batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    batch, size = list[Frame](), 0
    for frame in frames:
        batch.append(frame)
        size += 0 if frame.message is None else memoryview(frame.message).nbytes
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of the one at `path` when the block is left in order. Errors name `path`, not what is written meanwhile."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory; name the file to write", str(path))
    try:
        fd, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from None
    try:
        with os.fdopen(fd, "wb") as raw:
            if path.suffix == ".zst":
                with _compressed(raw, path) as file:
                    yield file
            else:
                yield raw
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def _compressed(raw: BinaryIO, path: Path) -> BinaryIO:
    try:
        import zstandard
    except ImportError:
        raise Unreadable(f"{path}: writing .zst tapes needs the package zstandard: pip install mcp-shadowproxy[zstd]") from None
    return zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
