"""What can be said after `shadowproxy tape`: every verb has help and its options reach it; a reader that has had enough is no error."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from programs import PATIENCE, ROOT, SHADOWPROXY
from tapes import notification, write_tape

from shadowproxy.cli import exits, main
from shadowproxy.cli.tape_words import tape_app

VERBS = [name for name in tape_app() if not name.startswith("-")]


def test_the_group_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tape", "--help"]) == exits.OK
    out = capsys.readouterr().out
    assert all(f" {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tape", verb, "--help"]) == exits.OK
    assert f"Usage: shadowproxy tape {verb}" in capsys.readouterr().out


def test_the_group_is_in_the_first_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == exits.OK
    assert " tape " in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [(["tape", "shwo", "x"], "show"), (["tape", "show", "x", "--ful"], "--full"), (["tap", "list"], "did you mean tape?")])
def test_a_slip_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == exits.USAGE
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    """As in `shadowproxy tape show TAPE | head -1`."""
    path = write_tape(tmp_path / "a.jsonl", (notification(n, "notifications/message", {"data": "x" * 200}) for n in range(1, 5000)))
    with subprocess.Popen([*SHADOWPROXY, "tape", "show", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert b"time" in program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(PATIENCE) == exits.OK
