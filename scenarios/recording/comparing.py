"""What of two tapes must be equal when one was recorded while the other was replayed: everything but times and ids.

In: a tape. Out: its frames as plain values: without times, with numbers replaced by what they stand for. `spoken` leaves out what
only HTTP has as well, so that a tape recorded by stdio compares with it.
"""
from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading
from shadowproxy.wire.jsonrpc import Raw

Plain: TypeAlias = dict[str, Any]
FLEETING: Final = ("n", "t", "wall")
"""When it was."""


def lines_of(tape: Path) -> dict[str, list[Plain]]:
    """The frames of each exchange, and of what belongs to none: in each, order is causal; between them it is the scheduler's. Exchanges are named in
    the order in which they began; what a frame answers, by its place. When a client that dropped a stream was found out has no place in that order: the
    kernel takes a few frames for it or none."""
    exchanges: dict[int, int] = {}
    places: dict[int, tuple[str, int]] = {}
    found: defaultdict[str, list[Plain]] = defaultdict(list)
    with Reading(tape) as reading:
        for frame in reading:
            exchange = None if frame.exchange is None else exchanges.setdefault(frame.exchange, len(exchanges) + 1)
            line = found[name := f"{frame.session} {exchange}{' left' if frame.kind == 'left' else ''}"]
            places[frame.n] = name, len(line)
            line.append({**_plain(frame), "exchange": exchange, "re": None if frame.re is None else places[frame.re], "stream": (frame.stream or "")[:1]})
    return dict(found)


def _plain(frame: Frame) -> Plain:
    value: Plain = msgspec.to_builtins(frame, builtin_types=(Raw,))
    return {name: json.loads(bytes(part)) if isinstance(part, Raw) else part for name, part in value.items() if name not in FLEETING}


def spoken(tape: Path) -> list[Mapping[str, Any]]:
    """What was said in each exchange, and unasked: messages only, by direction and order, whatever they travelled on."""
    with Reading(tape) as reading:
        said = [(frame.dir, json.loads(bytes(frame.message))) for frame in reading if frame.message is not None and frame.kind != "about"]
    return sorted(({"dir": way, **message} for way, message in said), key=lambda one: json.dumps(one, sort_keys=True))
