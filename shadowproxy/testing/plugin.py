"""The pytest plugin: the mark, the options, the fixtures. docs/testing.md shows them.

In: tests marked with `@pytest.mark.tape(...)`. Out: a `TapedServer` for each that asks for one, made before the test and closed after it; an error where
the test and its tape do not agree. Works with pytest-trio, with anyio's plugin, and without either. Nothing is shared between tests.
"""
from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.testing.modes import MODES, VARIABLE, Mode, WrongMode, mode_in_force

if TYPE_CHECKING:
    from shadowproxy.testing.marks import Mark
    from shadowproxy.testing.server import TapedServer

PASSED: pytest.StashKey[bool] = pytest.StashKey()
SERVER: pytest.StashKey[TapedServer] = pytest.StashKey()
_HELP = f"what tests do with their tapes: {', '.join(MODES)} (default none; also: ${VARIABLE}, or tape_mode in the configuration, which does not count where CI is set)"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("tapes").addoption("--tape-mode", choices=MODES, default=None, help=_HELP)
    parser.addini("tape_mode", "what --tape-mode is unless it is given", default="")
    parser.addini("tape_directory", "where tapes are, from the root directory (default: the folder tapes beside the test's file)", default="")


def pytest_configure(config: pytest.Config) -> None:
    from shadowproxy.testing.marks import SIGNATURE

    config.addinivalue_line("markers", f"{SIGNATURE}: answer from this tape, or record it (shadowproxy.testing).")
    try:
        mode_of(config)
    except WrongMode as error:
        raise pytest.UsageError(str(error)) from None


def mode_of(config: pytest.Config) -> Mode:
    return mode_in_force(config.getoption("--tape-mode"), str(config.getini("tape_mode")), os.environ)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """In mode `none` a test with a tape has nothing live."""
    found = item.get_closest_marker("tape")
    with nullcontext() if found is None or mode_of(item.config) != "none" or not found.kwargs.get("block", True) else _guarded(item):
        return (yield)


def _guarded(item: pytest.Item) -> Any:
    from shadowproxy.testing.guard import guarded

    return guarded(f"{item.name} has @pytest.mark.tape and so answers from its tape (mode none); to allow it: block=False in the mark, or another --tape-mode")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Only the tape of a test that has passed is kept; with one that has failed is told where it and its tape did not agree."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
        if report.failed and SERVER in item.stash and (told := item.stash[SERVER].seen_so_far()):
            report.sections.append(("Tape", told))
    return report


@pytest.fixture
def tape_directory(request: pytest.FixtureRequest) -> Path:
    """Where this test's tape is; override it to have them elsewhere."""
    configured = str(request.config.getini("tape_directory"))
    return request.config.rootpath / configured if configured else request.path.parent / "tapes"


@pytest.fixture
def replaying_server(request: pytest.FixtureRequest, tape_directory: Path) -> Iterator[TapedServer]:
    """A server that answers from the tape of the mark, whatever the mode."""
    yield from _server(request, tape_directory, "none")


@pytest.fixture
def recording_server(request: pytest.FixtureRequest, tape_directory: Path) -> Iterator[TapedServer]:
    """The live server of the mark with a recorder before it, or its tape: as the mode says."""
    yield from _server(request, tape_directory, mode_of(request.config))


def _server(request: pytest.FixtureRequest, folder: Path, mode: Mode) -> Iterator[TapedServer]:
    from shadowproxy.testing.marks import WrongMark
    from shadowproxy.testing.server import NoTape, TapedServer

    wrong = ""
    try:
        server = request.node.stash[SERVER] = TapedServer(_mark(request, folder), mode)
    except (WrongMark, NoTape) as error:
        wrong = str(error)
    if wrong:  # not within the error, which would be shown as well
        pytest.fail(wrong, pytrace=False)
    try:
        yield server
        server.close()
        if request.node.stash.get(PASSED, False):
            if complaint := server.complaint():
                pytest.fail(complaint, pytrace=False)
            server.keep()
    finally:
        server.close()
        server.clear()


def _mark(request: pytest.FixtureRequest, folder: Path) -> Mark:
    from shadowproxy.testing.marks import WrongMark, understand

    found = request.node.get_closest_marker("tape")
    if found is None:
        raise WrongMark(f"{request.fixturename} needs a tape: mark the test with @pytest.mark.tape('name')")
    return understand(found.args, found.kwargs, folder, request.node.name, "" if request.fixturename == "replaying_server" else request.node.nodeid)
