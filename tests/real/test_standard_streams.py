"""Standard input and output, whatever they are: pipes, sockets, terminals, plain files, the null device. The descriptors stay the process's own."""
from __future__ import annotations

import os
import socket
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from shadowproxy.downstream.standard_streams import PlainFile, open_standard_streams

MUCH = bytes(range(256)) * 4096


@contextmanager
def standing_in(*, stdin: int | None = None, stdout: int | None = None) -> Iterator[None]:
    """Other descriptors as 0 and 1, for the length of the block."""
    kept = os.dup(0), os.dup(1)
    try:
        for fd, number in ((stdin, 0), (stdout, 1)):
            if fd is not None:
                os.dup2(fd, number)
        yield
    finally:
        for saved, number in zip(kept, (0, 1), strict=True):
            os.dup2(saved, number)
            os.close(saved)


async def all_of(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    with trio.fail_after(10):
        while part := await stream.receive_some(4096):
            data += part
    return data


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass  # the test has closed it


async def test_a_pipe_as_input(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"one\ntwo\n")
    os.close(writing)
    with standing_in(stdin=reading):
        with open_standard_streams() as (stdin, _):
            assert not os.get_blocking(0)
            assert await all_of(stdin) == b"one\ntwo\n"
        assert os.get_blocking(0)


async def test_a_pipe_as_output_takes_more_than_it_holds(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    received: list[bytes] = []

    async def read() -> None:
        async with trio.lowlevel.FdStream(os.dup(reading)) as stream:
            received.append(await all_of(stream))

    async with trio.open_nursery() as nursery:
        with standing_in(stdout=writing):
            os.close(writing)
            with open_standard_streams() as (_, stdout):
                nursery.start_soon(read)
                with trio.fail_after(10):
                    await stdout.send_all(MUCH)
            assert os.get_blocking(1)
    assert received == [MUCH]


async def test_a_reader_that_has_left_is_noticed(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    with standing_in(stdout=writing), open_standard_streams() as (_, stdout):
        with pytest.raises(trio.BrokenResourceError):
            await stdout.send_all(b"nobody")


async def test_waiting_for_input_can_be_cancelled(pipe: tuple[int, int]) -> None:
    with standing_in(stdin=pipe[0]), open_standard_streams() as (stdin, _):
        with trio.move_on_after(0.01) as scope:
            await stdin.receive_some(1)
        assert scope.cancelled_caught


@pytest.mark.parametrize("blocking", [True, False])
async def test_one_socket_as_both(blocking: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, standing_in(stdin=ours.fileno(), stdout=ours.fileno()):
        ours.setblocking(blocking)
        with open_standard_streams() as (stdin, stdout):
            theirs.send(b"in")
            assert await stdin.receive_some(10) == b"in"
            await stdout.send_all(b"out")
            assert theirs.recv(10) == b"out"
        assert os.get_blocking(ours.fileno()) is blocking


@pytest.mark.parametrize("early", [None, 0, 1], ids=["both at the end", "input first", "output first"])
async def test_a_terminal_is_left_as_it_was_found(early: int | None) -> None:
    """Input and output are one open file there."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        with standing_in(stdin=slave, stdout=slave):
            with open_standard_streams() as (stdin, stdout):
                os.write(master, b"in\n")
                assert await stdin.receive_some(10) == b"in\n"
                await stdout.send_all(b"out\n")
                assert os.read(master, 10) == b"out\n"
                if early is not None:
                    await (stdin, stdout)[early].aclose()
            assert os.get_blocking(slave)
    finally:
        os.close(master)
        os.close(slave)


async def test_closed_twice_or_with_its_descriptor_gone_is_no_matter(pipe: tuple[int, int]) -> None:
    with standing_in(stdin=pipe[0]):
        with open_standard_streams() as (stdin, stdout):
            await stdin.aclose()
            await stdout.aclose()
            os.close(0)


# ---------------------------------------------------- what no event loop can wait for
async def test_plain_files_as_both(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(MUCH)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink, standing_in(stdin=source.fileno(), stdout=sink.fileno()):
        with open_standard_streams() as (stdin, stdout):
            while part := await stdin.receive_some(10_000):
                await stdout.send_all(part)
            await stdout.wait_send_all_might_not_block()
            await stdin.aclose()
        os.fstat(0)
        os.fstat(1)
    assert (tmp_path / "out").read_bytes() == MUCH


async def test_an_output_that_is_appended_to_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"before\n")
    with (tmp_path / "out").open("ab") as sink, standing_in(stdout=sink.fileno()), open_standard_streams() as (_, stdout):
        await stdout.send_all(b"after\n")
    assert (tmp_path / "out").read_bytes() == b"before\nafter\n"


async def test_the_null_device_says_nothing_and_takes_everything() -> None:
    fd = os.open(os.devnull, os.O_RDWR)
    try:
        with standing_in(stdin=fd, stdout=fd), open_standard_streams() as (stdin, stdout):
            assert await stdin.receive_some() == b""
            await stdout.send_all(MUCH)
    finally:
        os.close(fd)


async def test_a_plain_file_lets_others_run(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(MUCH)
    stream = PlainFile(os.open(tmp_path / "in", os.O_RDONLY))
    turns: list[str] = []

    async def read(name: str) -> None:
        for _ in range(3):
            await stream.receive_some(10)
            turns.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "a")
        nursery.start_soon(read, "b")
    assert turns not in (["a"] * 3 + ["b"] * 3, ["b"] * 3 + ["a"] * 3)
    stream.close()
