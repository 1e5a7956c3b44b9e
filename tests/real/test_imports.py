"""What is imported when: the package by itself next to nothing, each public name when it is asked for."""
from __future__ import annotations

import subprocess
import sys

import pytest
from programs import ROOT

import shadowproxy


def loaded(program: str) -> set[str]:
    """The modules that a new interpreter has after `program`, whose own output is not looked at."""
    done = subprocess.run([sys.executable, "-c", f"{program}\nimport sys\nprint(); print(*sys.modules)"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


NONSENSE = "nonsense"
HEAVY = {"trio", "attrs", "msgspec", "cyclopts", "httptools", "httpx", "hypercorn", "h2", "structlog", "ssl"}


@pytest.mark.parametrize("program", ["import shadowproxy", "from shadowproxy.cli.main import run; run(['--version'])"])
def test_the_package_and_its_version_need_nothing(program: str) -> None:
    assert loaded(program) & HEAVY == set()


def test_a_proxy_needs_no_http_but_its_own() -> None:
    assert loaded("import shadowproxy.cli.words") & {"httpx", "hypercorn", "h2", "structlog", "asyncio", "http.client"} == set()


@pytest.mark.parametrize("name", shadowproxy.__all__)
def test_every_public_name_is_found(name: str) -> None:
    assert loaded(f"from shadowproxy import {name}")
    assert name in dir(shadowproxy)


def test_another_name_is_none_of_ours() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        getattr(shadowproxy, NONSENSE)
