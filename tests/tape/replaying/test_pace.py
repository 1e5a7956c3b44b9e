"""The four ways of replaying a pause."""
from __future__ import annotations

import pytest

from shadowproxy.tape.replaying.pace import Pace


@pytest.mark.parametrize(("timing", "gaps"), [
    ("none", (0, 0, 0)), ("recorded", (0, 2, 100)), ("scale:0.5", (0, 1, 50)), ("scale:3", (0, 6, 300)), ("cap:5", (0, 2, 5)), ("cap:0", (0, 0, 0)),
])  # fmt: skip
def test_a_pause(timing: str, gaps: tuple[float, ...]) -> None:
    pace = Pace.of(timing)
    assert tuple(map(pace.gap, (0.0, 2.0, 100.0))) == gaps
    assert pace.gap(-1.0) == 0, "frames of several streams may stand out of order"
