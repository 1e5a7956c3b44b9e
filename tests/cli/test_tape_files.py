"""Paths that a user names: what is found there, and what is said when it is not what it should be. Progress is told of long work, on a terminal."""
from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tapes import HEADER, notification, write_tape

from shadowproxy.cli import tape_files
from shadowproxy.cli.tape_files import faults, progress, reading, those_of, watched
from shadowproxy.errors import ConfigError
from shadowproxy.tape.exchanging import writer as exchanging
from shadowproxy.tape.frame import Unreadable


class Terminal(io.StringIO):
    """What standard error is when somebody looks at it."""

    def isatty(self) -> bool:
        return True


def test_files_and_directories(tmp_path: Path) -> None:
    here = write_tape(tmp_path / "a.jsonl", [])
    (tmp_path / "more").mkdir()
    there = write_tape(tmp_path / "more" / "b.jsonl", [])
    (tmp_path / "more" / "notes.txt").touch()
    assert those_of([str(here), str(tmp_path / "more")]) == [here, there]
    with pytest.raises(ConfigError, match="no such file"):
        those_of([str(tmp_path / "nowhere")])


@pytest.mark.parametrize(("error", "said"), [
    (Unreadable("x: not a tape: its first line"), "tape import"),
    (Unreadable("x: a tape of version 2, made by a newer shadowproxy"), "newer shadowproxy"),
    (PermissionError(13, "Permission denied", "/secret"), "/secret: Permission denied"),
])  # fmt: skip
def test_faults_become_one_line(error: Exception, said: str) -> None:
    with pytest.raises(ConfigError, match=said), faults():
        raise error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "Input/output error"), ValueError("a bug")])
def test_what_is_no_fault_of_a_file_is_not_taken_for_one(error: Exception) -> None:
    with pytest.raises(type(error)), faults():
        raise error


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_long_work_on_a_terminal(long: bool, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(tape_files, "LONG", 0.0 if long else 1e9)
    path = write_tape(tmp_path / "a.jsonl", (notification(n, "x") for n in range(1, 100)))
    with reading(str(path)) as tape:
        assert len(list(watched(tape, "reading it"))) == 99
    assert ("reading it" in stderr.getvalue()) == (long and terminal)


def test_progress_of_a_compressed_tape_has_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size says nothing of its length."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(tape_files, "LONG", 0.0)
    with progress("unpacking") as moved:
        moved(1_000_000, None)
    path = tmp_path / "a.jsonl.zst"
    exchanging.write_tape(path, HEADER, [notification(1, "x")])
    with reading(str(path)) as tape:
        assert len(list(watched(tape, "reading it"))) == 1
