"""Tapes on a disk: whole lines whatever fails, files put aside by size and age, so many kept, compressed, for their owner's eyes only."""
from __future__ import annotations

import gc
import os
import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapes import notification

from shadowproxy.tape.frame import Header, encode_frames
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.recording import store
from shadowproxy.tape.recording.store import Rotation, Store, compress, free_name, old_ones
from shadowproxy.tape.recording.track import Track


class Clock:
    """Time, by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        patch.setattr("shadowproxy.tape.recording.store.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def header(track: Track) -> Header:
    return Header(tool="test", origin=1.0, session=track.name or None)


def lines(first: int, count: int = 1) -> bytes:
    return encode_frames(notification(n, "x") for n in range(first, first + count))


@contextmanager
def opened(path: Path, rotation: Rotation = Rotation(), *, per_session: bool = False) -> Iterator[Store]:  # noqa: B008 -- frozen
    made = Store(path, header, per_session=per_session, rotation=rotation)
    try:
        yield made
    finally:
        made.close()


def numbers(path: Path) -> list[int]:
    with Reading(path) as reading:
        found = list(reading)
        assert not reading.torn
    return [frame.n for frame in found]


def names(folder: Path) -> list[str]:
    """With times as T."""
    return sorted(re.sub(r"\d{8}-\d{6}", "T", path.name) for path in folder.iterdir())


# ---------------------------------------------------- files
def test_one_file_for_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.jsonl"
    with opened(path) as tapes:
        assert not path.exists()  # nothing to write yet
        tapes.write(Track(""), lines(1, 3))
    assert numbers(path) == [1, 2, 3]


def test_a_file_for_each_session(tmp_path: Path) -> None:
    one, other, everybody = Track("s1"), Track("s2"), Track("")
    with opened(tmp_path, per_session=True) as tapes:
        for n in (1, 2):
            for track in (one, other, everybody):
                tapes.write(track, lines(n))
    assert names(tmp_path) == [f"T-{os.getpid()}-{name}.jsonl" for name in ("all", "s1", "s2")]
    assert [numbers(path) for path in tmp_path.iterdir()] == [[1, 2]] * 3
    for path in tmp_path.iterdir():
        with Reading(path) as reading:
            assert reading.header.session == (path.stem.rpartition("-")[2] if "all" not in path.name else None)


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "a.jsonl", Rotation(size=1, compress=True)) as tapes:
            track = Track("")
            for n in (1, 2):
                tapes.write(track, lines(n))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert len(names(tmp_path)) == 2


def test_a_tape_of_an_earlier_run_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for _ in range(3):
        with opened(path) as tapes:
            tapes.write(Track(""), lines(1))
    assert [numbers(one) for one in tmp_path.iterdir()] == [[1]] * 3


def test_more_sessions_than_files_may_be_open_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OPEN", 3)
    tracks = [Track(f"s{number}") for number in range(10)]
    with opened(tmp_path, per_session=True) as tapes:
        for n in range(1, 4):
            for track in tracks:
                tapes.write(track, lines(n))
                assert len(os.listdir("/proc/self/fd")) < 100
        assert len(tapes._open) == 3
    assert [numbers(path) for path in tmp_path.iterdir()] == [[1, 2, 3]] * 10


def test_sessions_that_are_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OPEN", 2)
    with opened(tmp_path, per_session=True) as tapes:
        for number in range(10):
            tapes.write(Track(f"s{number}"), lines(1))
        gc.collect()
        assert len(tapes._known) == 2


# ---------------------------------------------------- rotation
def test_a_full_file_is_put_aside_with_a_header_for_the_next(tmp_path: Path) -> None:
    track = Track("")
    with opened(tmp_path / "a.jsonl", Rotation(size=400)) as tapes:
        for n in range(1, 11):
            tapes.write(track, lines(n))
    aside = old_ones(tmp_path / "a.jsonl")
    assert len(aside) >= 2
    assert [n for path in (*reversed(aside), tmp_path / "a.jsonl") for n in numbers(path)] == list(range(1, 11))
    assert all(400 <= path.stat().st_size < 700 for path in aside)


def test_an_old_file_is_put_aside_though_it_took_turns(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OPEN", 1)
    one, other = Track("s1"), Track("s2")
    with opened(tmp_path, Rotation(age=60), per_session=True) as tapes:
        for n in range(1, 8):
            tapes.write(one, lines(n))
            tapes.write(other, lines(n))
            clock.now += 20
    assert sorted(numbers(path) for path in tmp_path.iterdir() if "s1" in path.name) == [[1, 2, 3], [4, 5, 6], [7]]


def test_only_so_many_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("a.eu.jsonl", "a.2026.jsonl", "aa.20260101-000000.jsonl", "a.20260101-000000.jsonl.txt", "b.20260101-000000.jsonl")]
    for other in others:
        other.write_text("mine")
    track = Track("")
    with opened(tmp_path / "a.jsonl", Rotation(size=1, keep=2)) as tapes:
        for n in range(1, 8):
            tapes.write(track, lines(n))
    assert [numbers(path) for path in old_ones(tmp_path / "a.jsonl")] == [[6], [5]]
    assert numbers(tmp_path / "a.jsonl") == [7]
    assert [other.read_text() for other in others] == ["mine"] * len(others)


def test_names_with_characters_that_patterns_know(tmp_path: Path) -> None:
    track, path = Track(""), tmp_path / "a[1]*.jsonl"
    with opened(path, Rotation(size=1, keep=1)) as tapes:
        for n in range(1, 5):
            tapes.write(track, lines(n))
    assert [numbers(old) for old in old_ones(path)] == [[3]]


def test_files_put_aside_are_compressed_and_can_be_read(tmp_path: Path) -> None:
    track, path = Track(""), tmp_path / "a.jsonl"
    with opened(path, Rotation(size=1, compress=True, keep=2)) as tapes:
        for n in range(1, 6):
            tapes.write(track, lines(n))
    assert sorted(one.suffix for one in tmp_path.iterdir()) == [".jsonl", ".zst", ".zst"]
    assert [numbers(old) for old in old_ones(path)] == [[4], [3]]


def test_a_free_name_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadowproxy.tape.recording.store.time.strftime", lambda _: "20261121-083012")
    path = tmp_path / "a.jsonl"
    (tmp_path / "a.20261121-083012.jsonl").touch()
    (tmp_path / "a.20261121-083012-1.jsonl.zst").touch()
    assert free_name(path).name == "a.20261121-083012-2.jsonl"


# ---------------------------------------------------- disks that fail
@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may be larger: the kernel takes a part of a write, and refuses the next."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(st.integers(1, 3000))
def test_a_write_that_fails_half_way_is_taken_back(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    track, path, written = Track(""), tmp_path_factory.mktemp("full") / "a.jsonl", []
    with opened(path) as tapes:
        with room_for(size):
            for n in range(1, 30):
                try:
                    tapes.write(track, lines(n))
                    written.append(n)
                except OSError as error:
                    assert error.errno == 27  # EFBIG
        assert written == list(range(1, len(written) + 1))
        tapes.write(track, lines(30))  # there is room again
    assert numbers(path) == [*written, 30]


def test_a_disk_without_room_for_a_header_leaves_no_file(tmp_path: Path) -> None:
    track, path = Track(""), tmp_path / "a.jsonl"
    with opened(path) as tapes:
        with room_for(5), pytest.raises(OSError):
            tapes.write(track, lines(1))
        assert list(tmp_path.iterdir()) == []
        tapes.write(track, lines(1))
    assert numbers(path) == [1]


def test_no_room_to_compress_leaves_the_tape_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(path: Path) -> Path:
        with room_for(20):
            return compress(path)

    track, path = Track(""), tmp_path / "a.jsonl"
    monkeypatch.setattr(store, "compress", full)
    with opened(path, Rotation(size=1, compress=True)) as tapes:
        for n in range(1, 4):
            tapes.write(track, lines(n))
    assert sorted(numbers(one) for one in tmp_path.iterdir()) == [[1], [2], [3]]  # and no half of anything
    assert "not compressed" in caplog.text


def test_what_cannot_be_put_aside_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a frame is never counted as lost that was written, nor written twice."""
    track, path, refused = Track(""), tmp_path / "a.jsonl", False

    def rename(self: Path, target: Path) -> Path:
        nonlocal refused
        if not refused:
            refused = True
            raise OSError(28, "No space left on device")
        os.rename(self, target)
        return target

    monkeypatch.setattr(Path, "rename", rename)
    with opened(path, Rotation(size=1)) as tapes:
        tapes.write(track, lines(1))
        with pytest.raises(OSError):
            tapes.write(track, lines(2))
        tapes.write(track, lines(2))
    assert sorted(numbers(one) for one in tmp_path.iterdir()) == [[1], [2]]


def test_a_full_device_takes_nothing() -> None:
    with open("/dev/full", "ab", buffering=0) as full, pytest.raises(OSError, match="No space"):
        store.write_all(full, b"x")


def test_a_part_at_a_time_is_still_all(tmp_path: Path) -> None:
    class Slow:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: memoryview) -> int:
            self.data += bytes(data[:3])
            return len(data[:3])

    slow = Slow()
    file: BinaryIO = slow  # type: ignore[assignment]
    store.write_all(file, b"0123456789")
    assert slow.data == b"0123456789"


def test_a_file_that_was_deleted_begins_anew_when_its_turn_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OPEN", 1)
    one, other = Track("s1"), Track("s2")
    with opened(tmp_path, per_session=True) as tapes:
        tapes.write(one, lines(1))
        tapes.write(other, lines(1))
        for path in tmp_path.iterdir():
            path.unlink()
        tapes.write(one, lines(2))
    assert [numbers(path) for path in tmp_path.iterdir()] == [[2]]

