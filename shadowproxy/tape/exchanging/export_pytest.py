"""A tape as a test: the client's requests, one step each, against a server that answers from the tape.

In: the tape's path, rows. Out: the bytes of a Python file for `shadowproxy.testing`. What was asked is spelled out as Python, and so is what
was answered, up to a size; past that only its shape. It is a beginning: the steps are there to be replaced by the client under test.
"""
from __future__ import annotations

import keyword
import pprint
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from shadowproxy.tape.viewing.rows import Row

STEPS: Final = 100
"""Requests of one test; of a longer tape the first ones, and a comment says so."""
LITERAL: Final = 2000
"""Characters of an answer that are spelled out."""
WIDTH: Final = 120
OPEN: Final = 1000
"""Requests without an answer yet whose parameters are kept."""


def scenario(path: Path, rows: Iterable[Row]) -> Iterator[bytes]:
    """The file."""
    name = path.name.removesuffix(".zst").removesuffix(".jsonl")
    yield _HEAD.format(name=_identifier(name), mark=name, function=_identifier(name)).encode()
    steps = filter(None, map(_Steps().step, rows))
    first = next(steps, None)
    if first is None:
        yield b"    assert replaying_server is not None  # the tape has no request that was answered\n"
        return
    yield first.encode()
    for step in islice(steps, STEPS - 1):
        yield step.encode()
    if next(steps, None) is not None:
        yield f"    # More than {STEPS} requests are on the tape: these are the first. A part: shadowproxy tape filter TAPE FILTER -o OUT\n".encode()


_HEAD: Final = '''"""The session on the tape {name}: what its client asked, and what it was answered.

Made by `shadowproxy tape export --format pytest`. The server answers from the tape, so nothing of the real one is needed. Replace the steps by the
client under test, or change them: a request that is not on the tape fails with the nearest that is, and the difference.
"""
from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.tape({mark!r})
async def test_{function}(replaying_server: Any) -> None:
'''


class _Steps:
    """Rows -> steps: a request's step is complete when its response has come."""

    def __init__(self) -> None:
        self._asked: dict[int, Any] = {}

    def step(self, row: Row) -> str | None:
        frame = row.frame
        if frame.leg == "server" or frame.message is None:
            return None
        if frame.dir == "c2s" and frame.kind == "request":
            if len(self._asked) < OPEN:
                self._asked[frame.n] = frame.value()
            return None
        if frame.dir == "c2s" and frame.kind == "notification":
            return f"    await replaying_server.notify({_arguments(frame.value())})\n"
        asked = self._asked.pop(frame.re, None) if frame.re is not None and frame.dir == "s2c" and frame.kind == "response" else None
        return None if asked is None else _asking(asked, frame.value())


def _asking(asked: Any, answer: Any) -> str:
    part = "error" if "error" in answer else "result"
    literal = _literal(answer[part], 4)
    call = f"    reply = await replaying_server.request({_arguments(asked)})\n"
    if len(literal) <= LITERAL:
        return f"{call}    assert reply[{part!r}] == {literal}\n"
    if isinstance(answer[part], dict):
        return f"{call}    assert sorted(reply[{part!r}]) == {sorted(answer[part])!r}  # the whole is on the tape\n"
    return f"{call}    assert {part!r} in reply\n"


def _arguments(message: Any) -> str:
    method = repr(message["method"])
    return f"{method}, {_literal(message['params'], 4)}" if "params" in message else method


def _literal(value: Any, indent: int) -> str:
    """As Python, over several lines where it is long."""
    return pprint.pformat(value, width=WIDTH, sort_dicts=False).replace("\n", "\n" + " " * (indent + 4))


def _identifier(name: str) -> str:
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "tape"
    return f"{found}_" if keyword.iskeyword(found) else found
