"""Records the scenarios anew, from the servers themselves: starts them, the proxy with `--record`, and a client that says what the script says.

    python scenarios/recording/record.py [SCENE…]

Needs what `nox -s scenarios` installs, and npm's registry the first time. The tapes replace those in `scenarios/tapes/` when their script has run to its end.
Look at what has changed (`git diff`, `shadowproxy tape diff`) before you keep it.
"""
from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests"), str(HERE.parents[1])]

import trio  # noqa: E402 - the parts are found by their names, wherever this is run from
from live_stage import open_live_stage  # noqa: E402
from scenes import SCENES, TAPES, Scene  # noqa: E402
from servers import open_world  # noqa: E402

PATIENCE = 30.0
"""Seconds for one script."""


async def record(scene: Scene, tape: Path) -> None:
    """Run its script against its server; the tape is complete afterwards."""
    with trio.fail_after(PATIENCE):
        async with open_live_stage(scene, tape) as (client, proxy):
            await scene.script(client, proxy.crash)


def main(names: list[str]) -> int:
    wanted = [scene for scene in SCENES if not names or scene.name in names]
    if len(wanted) < len(names):
        print(f"there are: {', '.join(scene.name for scene in SCENES)}", file=sys.stderr)
        return 2
    TAPES.mkdir(exist_ok=True)
    for scene in wanted:
        with tempfile.TemporaryDirectory() as folder, open_world():
            fresh = Path(folder, scene.tape.name)
            trio.run(record, scene, fresh)
            replacement = TAPES / f".{scene.tape.name}.part"
            replacement.write_bytes(fresh.read_bytes())
            os.replace(replacement, scene.tape)
            print(f"{scene.tape.stat().st_size:>9} {scene.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
