"""Standard error that nobody reads: writing never waits, and what was lost is told."""
from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from shadowproxy.cli.stderr import Stderr


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            continue  # closed by the test


def test_a_line_goes_out_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    Stderr(writer).write(b"hello\n")
    assert os.read(reader, 100) == b"hello\n"


def test_a_line_longer_than_one_write(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    Stderr(writer).write(b"x" * 10_000 + b"\n")
    assert os.read(reader, 20_000) == b"x" * 10_000 + b"\n"


def test_a_reader_that_does_not_read_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stderr = Stderr(writer)
    began = time.monotonic()
    for _ in range(1000):
        stderr.write(b"y" * 999 + b"\n")
    assert time.monotonic() - began < 1
    assert stderr.dropped > 0
    lost = stderr.dropped
    os.read(reader, 1 << 20)
    stderr.write(b"again\n")
    assert os.read(reader, 1000).endswith(b"(%d log lines dropped: standard error was not read)\nagain\n" % lost)
    assert stderr.dropped == 0


def test_a_torn_line_is_ended_before_the_next(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stderr = Stderr(writer)
    stderr.write(b"z" * (1 << 20) + b"\n")
    os.read(reader, 1 << 20)
    stderr.write(b"next\n")
    assert os.read(reader, 1000).startswith(b"\n(1 log lines dropped")


def test_a_reader_that_is_gone(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    stderr = Stderr(writer)
    stderr.write(b"hello\n")
    assert stderr.dropped == 1
