"""Which record mode is in force: the option, the environment, the configuration, in this order; and what CI changes."""
from __future__ import annotations

import pytest

from shadowproxy.testing.modes import MODES, VARIABLE, WrongMode, mode_in_force


@pytest.mark.parametrize(("option", "variable", "configured", "ci", "mode"), [
    (None, None, "", None, "none"),
    (None, None, "once", None, "once"),
    (None, None, "once", "true", "none"),
    (None, None, "once", "false", "once"),
    (None, "all", "once", None, "all"),
    (None, "all", "once", "1", "all"),
    ("rewrite", "all", "once", "1", "rewrite"),
    ("none", "all", "once", None, "none"),
    (None, "", "", None, "none"),
])  # fmt: skip
def test_who_decides(option: str | None, variable: str | None, configured: str, ci: str | None, mode: str) -> None:
    environment = {name: value for name, value in ((VARIABLE, variable), ("CI", ci)) if value is not None}
    assert mode_in_force(option, configured, environment) == mode


@pytest.mark.parametrize(("option", "variable", "configured", "where"), [
    ("never", "", "", "--tape-mode"), (None, "Once", "", VARIABLE), (None, "", "new", "tape_mode"),
])  # fmt: skip
def test_a_mode_that_is_none_is_refused_by_name(option: str | None, variable: str, configured: str, where: str) -> None:
    with pytest.raises(WrongMode, match=rf"^{where} '.*': it is none of {', '.join(MODES)}$"):
        mode_in_force(option, configured, {VARIABLE: variable})
