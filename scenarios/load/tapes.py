"""Tapes: frames a second written, read, shown, compared, replayed and verified, and the memory that it takes with a large one.

In: made-up tapes of `--tape-mb` (`made_tape.py`), in the rig's folder, gone afterwards. Out: a row for each thing that is done with them.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from scenarios.load.load import Column, take
from scenarios.load.proxies import SHADOWPROXY, Proxy
from scenarios.load.results import Figures, Rows
from scenarios.load.rig import Rig
from scenarios.load.tape_process import module, quiet, watched
from scenarios.load.tape_replay import replaying

CHANGED = 1000
"""Of the second tape of a comparison, every so-manieth echo is another."""
RECORDED = 200_000
"""Exchanges that are put through the recorder."""
VERIFYING = 60.0
"""Seconds after which verifying a large tape is ended: it asks a live server, and streams."""


@dataclass(frozen=True)
class Tape:
    """One that was made."""

    path: Path
    frames: int

    @property
    def mb(self) -> float:
        return self.path.stat().st_size / 1e6


class Tapes:
    """What is done to a tape is what the rows are named for."""

    name = "tapes"
    title = "Tapes"
    about = ("Made-up tapes: messages of 200 bytes, one in twenty of 16 KB. Each row is one process, taken once; its CPU is that of all of it, its start included. PSS is"
             " the most that it had at any moment. What commands print goes nowhere. `tape diff` reads two such tapes; `verify` asks the demo's server, whose CPU and memory"
             " count, and is ended after a minute; what is recorded, and the hour, are tapes of their own.")  # fmt: skip
    at = "what"
    proxies: ClassVar[dict[str, Proxy]] = {}
    columns = (Column("tape MB", "tape_mb"), Column("frames", "frames"), Column("seconds", "seconds", 2), Column("frames/s", "frames_s"),
               Column("CPU µs/frame", "cpu_us_frame", 1), Column("PSS MB", "pss_mb"))  # fmt: skip

    def run(self, rig: Rig) -> Rows:
        rows, folder = Rows(), rig.folder
        first, second = _made(rig, rows, folder / "first.jsonl", 0), _made(rig, rows, folder / "second.jsonl", CHANGED)
        for what, measure in _steps(rig, first, second).items():
            take(rows.row(SHADOWPROXY, what), measure)
        with replaying(rig, first.path) as replay:
            take(rows.row(SHADOWPROXY, "`replay`, until it answers"), lambda: _per_frame(replay.opened(), first.frames, first.mb))
            take(rows.row(SHADOWPROXY, "`replay`, 32 requests at once"), replay.answers)
        take(rows.row(SHADOWPROXY, "`replay --timing recorded`, an hour in virtual time"), lambda: _program(rig, "tape_programs", "hour", str(folder / "hour.jsonl")))
        return rows


def _made(rig: Rig, rows: Rows, path: Path, changed: int) -> Tape:
    """One of the two tapes; of the first, how fast it was written is a row."""
    found = _program(rig, "made_tape", str(path), str(rig.plan.tape_mb), "--changed", str(changed))
    if not changed:
        take(rows.row(SHADOWPROXY, "made up and written"), lambda: found)
    return Tape(path, int(found["frames"]))


def _steps(rig: Rig, first: Tape, second: Tape) -> dict[str, Callable[[], Figures]]:
    one, both = partial(_command, rig, first.frames, first.mb), partial(_command, rig, first.frames + second.frames, first.mb + second.mb)
    tape, other, out = str(first.path), str(second.path), str(rig.folder / "out.jsonl")
    return {
        "recorded": lambda: _program(rig, "tape_programs", "record", str(rig.folder / "recorded.jsonl"), str(RECORDED)),
        "read": lambda: _program(rig, "tape_programs", "read", tape),
        "`tape show --json`": partial(one, "tape", "show", tape, "--json"),
        "`tape show`": partial(one, "tape", "show", tape),
        "`tape stats`": partial(one, "tape", "stats", tape),
        "`tape filter 'tool:fail'`": partial(one, "tape", "filter", tape, "tool:fail", "-o", out),
        "`tape scan`": partial(one, "tape", "scan", tape),
        "`tape redact`": partial(one, "tape", "redact", tape, out),
        "`tape diff`": partial(both, "tape", "diff", tape, other, codes=(4,)),
        "`verify`": partial(_verify, rig, first),
    }


def _command(rig: Rig, frames: int, mb: float, *words: str, codes: Collection[int] = (0,)) -> Figures:
    """One of shadowproxy's, on so many frames."""
    return _per_frame(watched(rig, quiet([*rig.plan.proxy, *words]), codes=codes)[0], frames, mb)


def _program(rig: Rig, name: str, *words: str) -> Figures:
    """One of ours, which tells itself how many frames it had and how long it took for them."""
    figures, said = watched(rig, module(rig, name, *words))
    told = json.loads(said)
    path = Path(next(word for word in words if word.startswith("/")))
    return _per_frame({**figures, "seconds": told["seconds"]}, told["frames"], path.stat().st_size / 1e6)


def _verify(rig: Rig, tape: Tape) -> Figures:
    command = [*rig.plan.proxy, "verify", str(tape.path), "--", sys.executable, "-m", "shadowproxy.cli.demo_server"]
    figures = watched(rig, quiet(command), within=VERIFYING, file=tape.path)[0]
    return _per_frame(figures, round(tape.frames * figures["share"]), tape.mb * figures["share"])


def _per_frame(figures: Figures, frames: int, mb: float) -> Figures:
    return {**figures, "tape_mb": mb, "frames": frames, "frames_s": frames / figures["seconds"], "cpu_us_frame": figures["cpu_seconds"] * 1e6 / max(frames, 1)}
