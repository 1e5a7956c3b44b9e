"""The rules of a replay: what they may be."""
from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config import Replay
from shadowproxy.errors import ConfigError


def test_the_defaults() -> None:
    replay = Replay()
    assert (replay.order, replay.repeats, replay.on_miss, replay.timing, replay.ignore, replay.needs_live) == ("any", "safe", "error", "none", (), False)
    assert Replay(on_miss="forward").needs_live
    assert Replay(on_miss="record").needs_live


@pytest.mark.parametrize("timing", ["none", "recorded", "scale:2", "scale:0.5", "scale:.5", "cap:2", "cap:0"])
def test_timings(timing: str) -> None:
    assert Replay(timing=timing).timing == timing


@pytest.mark.parametrize("pointer", ["/params/a", "/**/id", "tools/call:/params/*/now", "my.tool_x/y:/a"])
def test_pointers(pointer: str) -> None:
    assert Replay(ignore=(pointer,)).ignore == (pointer,)


@pytest.mark.parametrize(("wrong", "what"), [
    ({"order": "sorted"}, "order: must be 'any'"), ({"repeats": "some"}, "repeats: must be 'safe'"), ({"on_miss": "ignore"}, "on_miss: must be 'error'"),
    ({"timing": "fast"}, "timing: must be none"), ({"timing": "scale:"}, "timing"), ({"timing": "scale:-1"}, "timing"), ({"timing": "cap:nan"}, "timing"),
    ({"timing": 2}, "timing: must be a string"), ({"ignore": "/a"}, "ignore: must be a tuple"), ({"ignore": ("params/a",)}, "ignore: must be a JSON pointer"),
    ({"ignore": ("m:",)}, "JSON pointer"), ({"ignore": ("a b:/x",)}, "JSON pointer"),
])  # fmt: skip
def test_what_cannot_be_meant(wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Replay(**wrong)
