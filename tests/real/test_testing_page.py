"""Every example of docs/testing.md: recorded by the first, and then run as the page says, without anything live."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from programs import ROOT

import shadowproxy
import shadowproxy.testing.guard
import shadowproxy.testing.plugin
import shadowproxy.testing.server  # before pytester: what it imports within a test it forgets afterwards

pytest_plugins = ["pytester"]
PAGE = (ROOT / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COUNT = len(re.findall(r"def test_", "".join(EXAMPLES)))


def test_the_examples(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(shadowproxy.__file__).parents[1]))
    files = [pytester.path / f"test_{number}.py" for number, _ in enumerate(EXAMPLES)]
    for file, text in zip(files, EXAMPLES, strict=True):
        file.write_text(text)
    plugin = ("-p", "shadowproxy.testing.plugin", "-p", "no:cacheprovider", "-W", "ignore")
    pytester.runpytest_inprocess(*plugin, "--tape-mode=once", files[0]).assert_outcomes(passed=1)
    assert (pytester.path / "tapes" / "echo.jsonl").exists()
    pytester.runpytest_inprocess(*plugin).assert_outcomes(passed=COUNT)
    assert COUNT >= 8


def test_what_the_page_names_is_there(pytester: pytest.Pytester) -> None:
    from shadowproxy.testing.marks import SIGNATURE
    from shadowproxy.testing.modes import MODES, VARIABLE
    from shadowproxy.testing.server import TapedServer

    assert VARIABLE in PAGE
    for mode in MODES:
        assert f"| `{mode}` |" in PAGE
    for argument in re.findall(r"(\w+)=", SIGNATURE):
        assert f"`{argument}`" in PAGE or f"{argument}=" in PAGE
    for name in ("transport", "stream", "url", "command", "request", "notify"):
        assert hasattr(TapedServer, name)
        assert f"`{name}" in PAGE
