"""Following tapes that are being written: what is there, what comes, rotation, new files, torn lines. Each look is made when the test says so."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tapes import HEADER, notification, request, response, tape_bytes, write_tape

from shadowproxy.cli import tape_tail
from shadowproxy.cli.tape_tail import follow, line_start
from shadowproxy.errors import ConfigError
from shadowproxy.tape.frame import Frame, Unreadable, encode_frames
from shadowproxy.tape.viewing.rows import Row


class Tail:
    """`look` gives what has come, by tape and number."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self._items = follow(path, sleep=lambda seconds: None, say=self.said.append)
        self.rows: list[Row] = []

    def look(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        while (item := next(self._items)) is not None:
            self.rows.append(item[1])
            found.append((item[0].name, item[1].frame.n))
        return found


def frames(*numbers: int) -> list[Frame]:
    return [notification(n, "notifications/x") for n in numbers]


def append(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.write(encode_frames(frames(*numbers)))


def test_what_is_there_and_what_comes(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "a.jsonl", [request(1, "tools/call", {"name": "echo"})])
    tail = Tail(path)
    assert tail.look() == [("a.jsonl", 1)]
    assert tail.look() == []
    with path.open("ab") as file:
        file.write(encode_frames([response(2, 1)]))
    assert tail.look() == [("a.jsonl", 2)]
    assert (tail.rows[-1].method, tail.rows[-1].tool, tail.rows[-1].duration) == ("tools/call", "echo", 0.1), "what it answers is remembered"


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path, data = tmp_path / "a.jsonl", tape_bytes(frames(1, 2))
    path.write_bytes(data[:20])
    tail = Tail(path)
    assert tail.look() == [], "not even a header"
    path.write_bytes(data[:-5])
    assert tail.look() == [("a.jsonl", 1)]
    path.write_bytes(data)
    assert tail.look() == [("a.jsonl", 2)]


def test_a_tape_that_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "a.jsonl", frames(1))
    tail = Tail(path)
    assert tail.look() == [("a.jsonl", 1)]
    append(path, 2)
    path.rename(tmp_path / "a.20261121-101500.jsonl")
    write_tape(path, frames(3))
    assert tail.look() == [("a.jsonl", 2), ("a.jsonl", 3)], "the rest of the old one, then the new one"
    append(path, 4)
    assert tail.look() == [("a.jsonl", 4)]


def test_a_directory(tmp_path: Path) -> None:
    """New tapes from their first frame; of those that were there only the newest shows its past; put aside or compressed, nothing comes twice."""
    old, new = write_tape(tmp_path / "old.jsonl", frames(1)), tmp_path / "new.jsonl"
    import os

    os.utime(old, (1, 1))
    write_tape(new, frames(1, 2))
    tail = Tail(tmp_path)
    assert tail.look() == [("new.jsonl", 1), ("new.jsonl", 2)]
    append(old, 5)
    assert tail.look() == [("old.jsonl", 5)]
    write_tape(tmp_path / "third.jsonl", frames(7, 8))
    assert tail.look() == [("third.jsonl", 7), ("third.jsonl", 8)]
    new.rename(tmp_path / "new.20261121.jsonl")
    (tmp_path / "new.20261121.jsonl.zst").write_bytes(b"whatever")
    assert tail.look() == []
    write_tape(new, frames(3))
    assert tail.look() == [("new.jsonl", 3)]
    (tmp_path / "new.20261121.jsonl").unlink()
    old.unlink()
    assert tail.look() == []


def test_an_empty_directory_is_waited_at(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    assert tail.look() == []
    assert tail.said == [f"{tmp_path}: no tapes there yet; waiting for the first"]
    write_tape(tmp_path / "first.jsonl", frames(1))
    assert tail.look() == [("first.jsonl", 1)]


def test_a_tape_that_is_begun_anew_in_its_file(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "a.jsonl", frames(1, 2, 3))
    tail = Tail(path)
    assert [n for _, n in tail.look()] == [1, 2, 3]
    write_tape(path, frames(7))
    assert tail.look() == [("a.jsonl", 7)]
    append(path, 8)
    assert tail.look() == [("a.jsonl", 8)]


def test_what_is_no_tape_is_not_waited_for(tmp_path: Path) -> None:
    """Alone it is an error; among tapes it is told once and passed over."""
    (tmp_path / "words.jsonl").write_text("hello\n")
    with pytest.raises(Unreadable, match="not a tape"):
        Tail(tmp_path / "words.jsonl").look()
    write_tape(tmp_path / "a.jsonl", frames(1))
    tail = Tail(tmp_path)
    tail.look()
    assert len(tail.said) == 1
    assert "words.jsonl: not a tape" in tail.said[0]
    (tmp_path / "words.jsonl").write_text("hello\nagain\n")
    append(tmp_path / "a.jsonl", 2)
    assert tail.look() == [("a.jsonl", 2)]
    assert len(tail.said) == 1


def test_a_file_at_rest_is_closed_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_tail, "REST", -1.0)
    path = write_tape(tmp_path / "a.jsonl", frames(1))
    tail = Tail(path)
    assert tail.look() == [("a.jsonl", 1)]
    assert tail.look() == []
    import os

    assert not [fd for fd in os.listdir("/proc/self/fd") if _link(fd) == str(path)], "it is closed"
    append(path, 2)
    assert tail.look() == [("a.jsonl", 2)]


def _link(fd: str) -> str:
    import os

    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_of_a_large_tape_only_the_end_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_tail, "HISTORY", 2000)
    tail = Tail(write_tape(tmp_path / "a.jsonl", frames(*range(1, 1001))))
    found = tail.look()
    assert 5 < len(found) < 50
    assert found[-1] == ("a.jsonl", 1000)
    assert [n for _, n in found] == list(range(found[0][1], 1001)), "whole frames, none left out"


@pytest.mark.parametrize("place", range(0, 120, 7))
def test_the_start_of_a_line(place: int, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"0123456789\n" * 10)
    assert line_start(path, place) == (place // 11 * 11 if place <= 110 else 110)


@pytest.mark.parametrize(("name", "said"), [("a.jsonl.zst", "tape show"), ("nowhere.jsonl", "once a recording has begun")])
def test_what_cannot_be_followed(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        next(follow(tmp_path / name))


def test_leaving_closes_all(tmp_path: Path) -> None:
    """The census tells of what would stay open."""
    write_tape(tmp_path / "a.jsonl", frames(1), HEADER)
    items: Iterator[object] = follow(tmp_path)
    next(items)
    items.close()  # type: ignore[attr-defined]  # it is a generator
