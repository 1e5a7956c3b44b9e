"""docs/tutorial.md is true: its files are written, its changes made, its commands run, in its order, and each shows what the page shows.

A block of Python behind a text that ends in a name is a file, one of `diff` is a change to `server.py`, one of `console` is commands, each with its output:
`…` stands for anything on its line, times may differ, and blanks count as one.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import attrs
from programs import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
SECONDS = 60
"""For a command: an SDK is imported by several programs in a row, on a machine that may be busy."""
_TIME = re.compile(r"\b\d+\.\d{3}(?= [→←])|\b\d+(?:\.\d+)?m?s\b")


@attrs.frozen
class Block:
    """A fenced block: what it is of, the name before it, its text."""

    language: str
    name: str
    text: str


def blocks() -> Iterator[Block]:
    text = PAGE.read_text()
    for found in re.finditer(r"(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$", text, re.DOTALL | re.MULTILINE):
        names = re.findall(r"`(\w+\.py)`[^`]*:$|`(\w+\.py)`;.*:$", found["before"])
        yield Block(found["language"], next((name for name in names[-1] if name), "") if names else "", found["text"])


class Reader:
    """Somebody who does what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.work, programs = folder / "work", folder / "programs"
        self.work.mkdir()
        programs.mkdir()
        self.status = 0
        for name, module in (("shadowproxy", "shadowproxy"), ("pytest", "pytest"), ("python", "")):
            words = f"-m {module} " if module else ""
            (programs / name).write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" {words}"$@"\n')
            (programs / name).chmod(0o755)
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Reader"), ("EMAIL", "reader@example.org"))}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SHADOWPROXY", "GIT"))}
        self._environment = {**clean, **who, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
                             "XDG_STATE_HOME": str(folder / "state"), "PYTEST_PLUGINS": "shadowproxy.testing.plugin"}  # fmt: skip
        self.run("git init -q")

    def follow(self, block: Block) -> None:
        if block.language == "console":
            for command, shown in conversations(block.text):
                agree(command, shown, self.run(command))
        elif block.language == "diff":
            self.change(block.text)
        elif block.name:
            (self.work / block.name).write_text(block.text)

    def run(self, command: str) -> str:
        """Its words, standard error among them. A failed one is for the next `$?`."""
        done = subprocess.run(["sh", "-c", f"(exit {self.status}); {command}"], cwd=self.work, env=self._environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)  # fmt: skip
        self.status = done.returncode
        return done.stdout

    def change(self, diff: str) -> None:
        file = self.work / "server.py"
        old, new = ([line[1:] for line in diff.splitlines() if line[0] == sign] for sign in "-+")
        text = file.read_text()
        for before, after in zip(old, new, strict=True):
            assert text.count(before) == 1
            text = text.replace(before, after)
        file.write_text(text)


def conversations(text: str) -> Iterator[tuple[str, str]]:
    """Each command with what it shows."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def agree(command: str, shown: str, said: str) -> None:
    wanted, found = plain(shown), plain(said)
    same = len(wanted) == len(found) and all(re.fullmatch(".*".join(map(re.escape, one.split("…"))), other) for one, other in zip(wanted, found, strict=True))
    assert same, f"$ {command}\nthe page shows:\n{shown}\nit says:\n{said}"


def plain(text: str) -> list[str]:
    """Lines, but for times and the number of blanks; lines that end in blanks end before them."""
    return [" ".join(_TIME.sub("TIME", line).split()) for line in text.splitlines()]


def test_the_tutorial(tmp_path: Path) -> None:
    found = list(blocks())
    assert [block.name for block in found if block.language == "python"] == ["server.py", "diary.py", "test_diary.py", "test_search.py"]
    reader = Reader(tmp_path)
    for block in found:
        reader.follow(block)
    assert reader.run("git status --porcelain -- '*.py' tapes") == "", "what the page makes is committed"
    assert reader.run("git ls-files tapes").split() == ["tapes/notes.jsonl", "tapes/search.jsonl"]


def test_every_block_is_one_of_those_that_are_run() -> None:
    assert {block.language for block in blocks()} == {"python", "console", "diff"}
    assert PAGE.read_text().count("\n```\n") == len(list(blocks())), "a block that the test does not see"


def test_what_it_installs_is_what_it_was_tested_with() -> None:
    """Installing needs a network; that the names are those of packages, and that the extra is one, does not."""
    found = re.search(r"^ {4}pip install 'mcp-shadowproxy\[(?P<extra>\w+)\]' (?P<others>.*)$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "mcp-shadowproxy"
    assert found["extra"] in project["optional-dependencies"]
    assert all(version(name) for name in found["others"].split())


def test_the_examples_within_the_text_name_verbs_and_options_that_there_are() -> None:
    """What stands in the running text is not run; its words are those that the programs know."""
    said = set(re.findall(r"--[a-z]+(?:-[a-z]+)*(?=[ =`\"])", re.sub(r"^```.*?^```$", "", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)))
    known = "".join(subprocess.run([sys.executable, "-m", "shadowproxy", *words, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=True).stdout
                    for words in (["reverse"], ["verify"], ["tape", "show"]))  # fmt: skip
    assert said <= {*re.findall(r"--[a-z-]+", known), "--tape-mode"}
