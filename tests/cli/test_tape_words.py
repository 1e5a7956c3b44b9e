"""What can be said after `shadowproxy tape`: every verb has help and its options reach it."""
from __future__ import annotations

import pytest

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


def test_help_says_a_default_once(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["tape", "tail", "--help"])
    main.run(["verify", "--help"])
    out = capsys.readouterr().out
    assert "(default 10)" in out
    assert "[default:" not in out
