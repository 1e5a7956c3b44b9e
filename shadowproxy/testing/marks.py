"""What `@pytest.mark.tape(...)` says. Pure code but for a look at what there is.

In: the mark's arguments, the test's file and name. Out: a `Mark`, or `WrongMark` that names the argument.
"""
from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from shadowproxy.config import Replay, Upstream
from shadowproxy.config.rules import WrongValue

SUFFIXES: Final = (".jsonl", ".jsonl.zst")
SIGNATURE: Final = "tape(name=None, *, live=None, allow_unused=False, allow_misses=False, block=True, order='any', repeats='safe', timing='none', ignore=())"


class WrongMark(ValueError):
    """The mark cannot be meant so."""


@attrs.frozen(kw_only=True)
class Mark:
    """`live`: the server that is recorded, a URL or a command. `block`: whether mode `none` blocks network and processes. `recorded_by`: what
    pytest calls the test, if its fixture can record."""

    path: Path
    live: str | tuple[str, ...] | None = None
    allow_unused: bool = False
    allow_misses: bool = False
    block: bool = True
    replay: Replay = attrs.field(factory=Replay)
    recorded_by: str = ""

    def again(self, mode: str) -> str:
        """How to record."""
        if self.recorded_by:
            return f"pytest {shlex.quote(self.recorded_by)} --tape-mode={mode}"
        return f"--tape-mode={mode}, in a test with the fixture recording_server"

    @property
    def upstream(self) -> Upstream:
        """The live server's settings. Raises `WrongMark`."""
        if self.live is None:
            raise WrongMark("to record, the mark must name the server: @pytest.mark.tape(..., live='http://…/mcp') or live=['command', 'argument']")
        return Upstream(url=self.live) if isinstance(self.live, str) else Upstream(command=self.live)


def understand(arguments: Sequence[Any], options: Mapping[str, Any], folder: Path, test: str, recorded_by: str = "") -> Mark:
    """`folder` is where tapes are; without a name the tape is called as the test is. Raises `WrongMark`."""
    rest = dict(options)
    name = arguments[0] if arguments else rest.pop("name", None) or re.sub(r"[^\w.-]+", "-", test).strip("-")
    if len(arguments) > 1 or not isinstance(name, str):
        raise WrongMark(f"the mark takes one name; the rest by keyword: {SIGNATURE}")
    own = {key: rest.pop(key) for key in ("live", "allow_unused", "allow_misses", "block") if key in rest}
    if isinstance(own.get("live"), list | tuple):
        own["live"] = tuple(own["live"])
    if unknown := rest.keys() - attrs.fields_dict(Replay):
        raise WrongMark(f"the mark has no argument {', '.join(sorted(unknown))}; it is {SIGNATURE}")
    try:
        settings: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
        replay = Replay(**settings)
    except WrongValue as error:
        raise WrongMark(f"the mark cannot be understood ({error}); it is {SIGNATURE}") from None
    return Mark(path=_path(folder, name), replay=replay, recorded_by=recorded_by, **own)


def _path(folder: Path, name: str) -> Path:
    """Of the tape that is there, else of the one that would be."""
    if name.endswith(SUFFIXES):
        return folder / name
    found = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in found if path.exists()), found[0])
