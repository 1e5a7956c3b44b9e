"""The verbs that are told from a server's command are those that the words are understood of."""
from __future__ import annotations

import re

import pytest

from shadowproxy.cli.main import run
from shadowproxy.cli.verbs import VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_each_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"Usage: shadowproxy {verb}" in capsys.readouterr().out


def test_the_help_names_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    named = re.findall(r"^│ ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert sorted(named) == sorted(VERBS)
