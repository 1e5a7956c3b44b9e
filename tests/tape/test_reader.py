"""Reading: any crash point gives a tape that opens, what cannot be read is marked, a tape that is being written can be followed."""
from __future__ import annotations

import io
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tapes import HEADER, happening, notification, request, response, tape_bytes, write_tape
from taping import whole

from shadowproxy.tape.frame import Frame, Unreadable, encode_frames, encode_header
from shadowproxy.tape.reader import Reading

FRAMES = [request(1, "tools/list", id="ä"), notification(2, "notifications/x", {"text": "line\nend"}), response(3, re=1, id="ä", result={"tools": []}),
          happening(4, "gap", lost=3, text="full"), request(7, "tools/call", {"name": "x" * 5000}), happening(8, "cancelled", re=7)]  # fmt: skip
HEAD = len(encode_header(HEADER))
WHOLE = tape_bytes(FRAMES)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tapes") / "a.jsonl"


def same(frames: list[Frame], others: list[Frame]) -> bool:
    return encode_frames(frames) == encode_frames(others)


def test_a_tape_is_read_as_it_was_written(tmp_path: Path) -> None:
    with Reading(write_tape(tmp_path / "a.jsonl", FRAMES)) as reading:
        assert same(list(reading), FRAMES)
        assert (reading.header, reading.torn, reading.line, reading.offset) == (HEADER, False, 7, len(WHOLE))


@given(st.integers(HEAD, len(WHOLE)))
def test_a_tape_that_ends_anywhere_opens(place: Path, end: int) -> None:
    place.write_bytes(WHOLE[:end])
    with Reading(place) as reading:
        frames = list(reading)
        complete = WHOLE[HEAD:end].count(b"\n")
        assert same(frames, FRAMES[:complete])
        assert reading.torn == (not WHOLE[:end].endswith(b"\n"))
    whole(frames)


@given(st.integers(0, HEAD - 2))
def test_without_a_header_it_is_no_tape_and_says_so(place: Path, end: int) -> None:
    place.write_bytes(WHOLE[:end])
    with pytest.raises(Unreadable, match=r"a\.jsonl: .* header"):
        Reading(place)


LINES = st.one_of(st.binary(max_size=30).filter(lambda line: b"\n" not in line), st.sampled_from(
    [b"", b"{}", b"[]", b"null", b'{"n":2}', b"\xff\xfe", b"[" * 20_000, b'{"n":1,"t":0,"dir":"c2s","kind":"gap","message":{"\xff":1}}', encode_frames(FRAMES[:1])[:-9]]))  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, len(FRAMES)), LINES), max_size=5))
def test_garbage_in_the_middle_is_a_gap_and_the_rest_is_read(place: Path, garbage: list[tuple[int, bytes]]) -> None:
    lines = [encode_frames([frame]) for frame in FRAMES]
    for at, line in sorted(garbage, key=lambda one: one[0], reverse=True):
        lines.insert(at, line + b"\n")
    place.write_bytes(encode_header(HEADER) + b"".join(lines))
    with Reading(place) as reading:
        frames = list(reading)
        marks = [frame for frame in frames if frame.kind == "gap" and (frame.text or "").startswith("line ")]
        assert same([frame for frame in frames if frame not in marks], FRAMES)
        assert len(marks) == len(garbage)
        assert [frame.t for frame in frames] == sorted(frame.t for frame in frames)
        assert not reading.torn


def test_a_mark_says_which_line_and_takes_the_number_of_what_is_missing(tmp_path: Path) -> None:
    lines = [encode_frames([frame]) for frame in FRAMES]
    lines[4] = b'{"n":7,"t"' + b"\x00" * 50 + b"\n"  # as a file system may leave it after a power cut
    (tmp_path / "a.jsonl").write_bytes(encode_header(HEADER) + b"".join(lines))
    with Reading(tmp_path / "a.jsonl") as reading:
        frames = list(reading)
    assert whole(frames) == 4
    assert (frames[4].n, frames[4].kind, frames[4].t) == (7, "gap", FRAMES[3].t)
    assert (frames[4].text or "").startswith("line 6: not a frame: ")


def test_a_tape_that_is_being_written_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(WHOLE[:HEAD])
    with Reading(path) as reading, path.open("ab", buffering=0) as file:
        found: list[Frame] = []
        for byte in range(HEAD, HEAD + 900):
            file.write(WHOLE[byte : byte + 1])
            found += reading
        file.write(WHOLE[HEAD + 900 :])
        found += reading
        assert same(found, FRAMES)
        assert not reading.torn


def test_frames_at_their_offsets(tmp_path: Path) -> None:
    with Reading(write_tape(tmp_path / "a.jsonl", FRAMES)) as reading:
        offsets = []
        while True:
            offset = reading.offset
            if reading.next() is None:
                break
            offsets.append(offset)
        for number in (5, 0, 3, 3):
            assert same([reading.at(offsets[number])], [FRAMES[number]])
        assert same(list(reading), FRAMES[4:])
        with pytest.raises(Unreadable, match="no frame at byte"):
            reading.at(len(WHOLE))


# ---------------------------------------------------- compressed
def compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_compressed_tape_is_read_as_what_it_says(tmp_path: Path, parts: int) -> None:
    path, size = tmp_path / "a.jsonl.zst", len(WHOLE) // parts + 1
    path.write_bytes(b"".join(compressed(WHOLE[at : at + size]) for at in range(0, len(WHOLE), size)))
    with Reading(path) as reading:
        assert same(list(reading), FRAMES)
        assert (reading.torn, reading.offset) == (False, len(WHOLE))


@given(st.data())
def test_a_compressed_tape_that_was_torn_opens_as_far_as_it_goes(place: Path, data: st.DataObject) -> None:
    path = place.with_name("a.jsonl.zst")
    sink = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(sink, closefd=False) as writer:
        for frame in (WHOLE[:HEAD], *(encode_frames([frame]) for frame in FRAMES)):
            writer.write(frame)
            writer.flush(zstandard.FLUSH_BLOCK)
    packed = sink.getvalue()
    path.write_bytes(packed[: data.draw(st.integers(0, len(packed)))])
    try:
        reading = Reading(path)
    except Unreadable:
        return
    with reading:
        frames = list(reading)
        assert same(frames, FRAMES[: len(frames)])
        assert list(reading) == []


def test_a_file_that_is_not_compressed_though_it_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(WHOLE)
    with pytest.raises(Unreadable, match=r"a\.jsonl\.zst: not compressed with zstd"):
        Reading(path)


def test_a_tape_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Reading(tmp_path / "a.jsonl")


def test_a_tape_of_the_future(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(WHOLE.replace(b'"tape":1', b'"tape":99', 1))
    with pytest.raises(Unreadable, match=r"a\.jsonl: a tape of version 99, made by a newer shadowproxy"):
        Reading(path)
