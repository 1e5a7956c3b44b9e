"""One version, wherever it is said."""
from __future__ import annotations

import tomllib
from pathlib import Path

import shadowproxy
from shadowproxy.tape.recording.store import tools
from shadowproxy.version import VERSION


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert VERSION == shadowproxy.__version__ == project["version"]
    assert tools()[0] == f"shadowproxy {VERSION}"
