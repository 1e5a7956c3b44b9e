"""A tape that is recorded while another is replayed equals it, but for times and ids: by HTTP and by stdio."""
from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from comparing import lines_of, spoken
from memory_stage import no_crash, open_memory_stage
from scenes import SCENES, VIRTUAL, Scene, Wire
from servers import KEY


def name_of(scene: Scene) -> str:
    return scene.name


@pytest.fixture(autouse=True)
def redacted_as_the_scenarios_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", KEY)


async def recorded_again(scene: Scene, wire: Wire, tape: Path) -> Path:
    async with open_memory_stage(scene, scene.tape, wire, record=tape) as (client, _):
        with trio.fail_after(VIRTUAL):  # no longer: a clock that jumps does not wait for the thread that writes the tape
            await scene.script(client, no_crash)
    return tape


@pytest.mark.parametrize("scene", SCENES, ids=name_of)
async def test_recorded_replayed_and_recorded_again_it_is_the_same(scene: Scene, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    again = await recorded_again(scene, scene.client, tmp_path / "again.jsonl")
    assert lines_of(again) == lines_of(scene.tape)


@pytest.mark.parametrize("scene", [scene for scene in SCENES if len(scene.wires) == 2], ids=name_of)
async def test_by_http_and_by_stdio_the_same_is_said(scene: Scene, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    http = await recorded_again(scene, "http", tmp_path / "http.jsonl")
    stdio = await recorded_again(scene, "stdio", tmp_path / "stdio.jsonl")
    assert spoken(stdio) == spoken(http)
