"""Each tape is played against the server that it was recorded from: it still answers as it did. `nox -s scenarios` installs the servers."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import trio
from programs import SHADOWPROXY, Program, until
from scenes import SCENES, Scene
from servers import command, environment, open_http_server, open_world


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    with open_world():
        yield


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.verified], ids=lambda scene: scene.name)
async def test_a_live_server_answers_as_on_the_tape(scene: Scene) -> None:
    with open_http_server() if scene.behind == "http" else nullcontext("") as url:
        ignored = [word for pointer in scene.differs for word in ("--ignore", pointer)]
        target = [url] if url else ["--", *command(scene.server)]
        with Program([*SHADOWPROXY, "verify", str(scene.tape), *ignored, *target], env=environment()) as verifying:
            with trio.fail_after(30):
                await until(lambda: verifying.ended)
            assert verifying.status == 0, verifying.words
            assert "MATCH" in verifying.words
