"""docs/tapes.md tells every member of the format, and every command, and nothing that is not there."""
from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from programs import ROOT
from tapes import write_tape

from shadowproxy.cli import exits, main
from shadowproxy.cli.tape_words import tape_app
from shadowproxy.tape.frame import Direction, Frame, Header, Http, Kind, Leg, Sse
from shadowproxy.tape.viewing import conditions
from shadowproxy.tape.viewing.filters import compile_filter

PAGE = (ROOT / "docs" / "tapes.md").read_text()


def table(head: str, after: str) -> dict[str, str]:
    """The rows of the first table after that text, by their first cell without its quotes."""
    part = PAGE.split(after, 1)[1]
    rows = part.split(head, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {cells[0].strip("` "): "|".join(cells[1:]) for row in rows if (cells := re.split(r"(?<!\\)\|", row.strip("|")))}


@pytest.mark.parametrize(("struct", "after"), [(Header, "### The header"), (Frame, "### A frame"), (Http, "`http`:"), (Sse, "`sse`:")])
def test_every_member(struct: type[msgspec.Struct], after: str) -> None:
    assert list(table("| member | type | meaning |", after)) == list(struct.__struct_fields__)


def test_every_kind_and_which_way_it_goes() -> None:
    told = table("| kind | dir | what happened |", "### A frame")
    assert list(told) == list(get_args(Kind))
    assert all(row.split("|")[0].strip() in ("both", *(f"`{dir}`" for dir in get_args(Direction))) for row in told.values())


def test_values_that_have_names() -> None:
    frame = table("| member | type | meaning |", "### A frame")
    assert re.findall(r'`"(\w+)"`', frame["dir"].split("|")[0]) == list(get_args(Direction))
    assert re.findall(r'`"(\w+)"`', frame["leg"].split("|")[0]) == list(get_args(Leg))


def test_every_command() -> None:
    told = {re.match(r"tape (\w+)", command) for command in table("| command | what it does |", "## The commands")}
    assert {found[1] for found in told if found} == {name for name in tape_app() if not name.startswith("-")}


def test_every_condition_of_a_filter() -> None:
    part = PAGE.split("## Filters", 1)[1].split("\n## ", 1)[0]
    told = set(re.findall(r"`([a-z]+)[:><]", part))
    assert told == {*conditions._FIELDS, *conditions._QUANTITIES}


@pytest.mark.parametrize("text", [line.strip() for line in PAGE.split("## Filters", 1)[1].splitlines() if line.startswith("    ")][:3])
def test_the_filters_shown_are_filters(text: str) -> None:
    compile_filter(text)


def test_the_error_shown_is_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = [line.strip() for line in PAGE.split("## Filters", 1)[1].splitlines() if line.startswith("    ")][3:7]
    (words, *said) = shown
    (text,) = re.findall(r"'([^']+)'$", words)
    assert main.run(["tape", "show", str(write_tape(tmp_path / "tape.jsonl", [])), text]) == exits.USAGE
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == said
