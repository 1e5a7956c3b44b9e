"""Each scenario from its tape: through the whole proxy, in memory and in virtual time, by HTTP and by stdio. Its script checks what it hears."""
from __future__ import annotations

import pytest
import trio
import trio.testing
from memory_stage import no_crash, open_memory_stage
from scenes import SCENES, VIRTUAL, Scene, Wire


@pytest.mark.parametrize(("scene", "wire"), [pytest.param(scene, wire, id=f"{scene.name}-{wire}") for scene in SCENES for wire in scene.wires])
async def test_a_scenario_is_replayed_as_it_was(scene: Scene, wire: Wire, autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_stage(scene, scene.tape, wire) as (client, upstream):
        with trio.fail_after(VIRTUAL):
            await scene.script(client, no_crash)
        assert upstream.misses == 0
        assert upstream.unused() == []
