"""The verb `verify` before anything runs: what cannot be meant is one line and exit code 2. (What it does is in tests/real/test_verifying.py.)"""
from __future__ import annotations

from pathlib import Path

import pytest
from tapes import request, write_tape

from shadowproxy.cli import exits, main, verifying
from shadowproxy.tape.verifying.verdicts import VERDICTS

SERVER = ["--", "false"]


@pytest.mark.parametrize(("words", "told"), [
    ([], "no server to verify: give its URL, or its command after --, as in: shadowproxy verify"), (["server"], "shadowproxy verify TAPE -- server"), (["--fail-on", "broken", *SERVER], "--fail-on 'broken': it is none of changed"), (["--ignore", "x", *SERVER], "--ignore 'x' is no JSON pointer"),
    (["--junit", "/no/such/place/x.xml", *SERVER], "--junit /no/such/place/x.xml: No such file"), (["--json", "/no/such/place/x", *SERVER], "--json /no/such/place/x: No such file"),
    (["--patience", "-1", *SERVER], "--patience must be 0 or more"), (["--env", "x", *SERVER], "--env must be NAME=VALUE"), (["ftp://x"], "url"),
])  # fmt: skip
def test_wrong_words(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = write_tape(tmp_path / "a.jsonl", [request(1, "ping")])
    assert main.run(["verify", str(tape), *words]) == exits.USAGE
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_no_tape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("hello\n")
    for name, told in (("words.txt", "not a tape"), ("none.jsonl", "there is no such file"), (".", "is a directory; name one tape in it")):
        assert main.run(["verify", str(tmp_path / name), *SERVER]) == exits.USAGE
        assert told in capsys.readouterr().err


def test_verdicts_that_count() -> None:
    assert verifying._verdicts(None) == frozenset(VERDICTS) - {"MATCH"}
    assert verifying._verdicts("Changed, error-shape-changed") == {"CHANGED", "ERROR-SHAPE-CHANGED"}
    assert verifying._verdicts("none") == frozenset()
