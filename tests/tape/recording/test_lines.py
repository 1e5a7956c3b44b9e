"""Frames as lines, and what is said in their place when they are lost."""
from __future__ import annotations

from tapes import happening

from shadowproxy.tape.frame import decode_frame
from shadowproxy.tape.recording.lines import gap, lines_of

FRAMES = [happening(3, "event"), happening(4, "gap", lost=5), happening(9, "event")]


def test_lines_know_what_is_in_them() -> None:
    lines = lines_of(FRAMES)
    assert [decode_frame(line) for line in lines.data.splitlines()] == FRAMES
    assert (lines.first, lines.t, lines.wall, lines.after, lines.count, lines.gaps) == (3, FRAMES[0].t, FRAMES[0].wall, 10, 3, 1)


def test_a_gap_stands_for_frames_and_for_the_gaps_among_them() -> None:
    found = gap([lines_of(FRAMES[:1]), lines_of(FRAMES[1:])], "why")
    assert (found.n, found.lost, found.kind, found.text, found.t) == (3, 7, "gap", "why", FRAMES[0].t)
    assert gap([lines_of(FRAMES[:2])], "why").lost == 6
