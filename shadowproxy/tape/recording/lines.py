"""Frames as lines, ready to be written, with what is to be known of them should that fail. Pure code.

In: frames that follow one another. Out: `Lines`; a `gap` in their place.
"""
from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shadowproxy.tape.frame import Frame, encode_frames


class Lines(msgspec.Struct, frozen=True, gc=False):
    """`count` frames, `gaps` of them gaps; `first` is the number of the first, at `t` and `wall`, `after` the number that follows."""

    data: bytes
    first: int
    t: float
    wall: float
    after: int
    count: int
    gaps: int = 0


def lines_of(frames: Sequence[Frame]) -> Lines:
    first, last = frames[0], frames[-1]
    gaps = sum([frame.kind == "gap" for frame in frames])
    return Lines(encode_frames(frames), first.n, first.t, first.wall, last.n + (last.lost or 1), len(frames), gaps)


def gap(lines: Sequence[Lines], text: str) -> Frame:
    """In place of these, which follow one another."""
    first = lines[0]
    return Frame(n=first.first, t=first.t, wall=first.wall, dir="s2c", kind="gap", lost=lines[-1].after - first.first, text=text)
