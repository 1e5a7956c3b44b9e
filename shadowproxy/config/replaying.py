"""How a tape is replayed: what counts as the same request, what a request gets that is not on it, and how fast.

In: keyword arguments. Out: `Replay`, or `WrongValue` that names the setting and the mend. docs/cli.md describes each for users, docs/replay.md all of it.
"""
from __future__ import annotations

from typing import Any, Literal

import attrs

from shadowproxy.config import rules, syntax


def _one_of(default: str, *others: str) -> Any:
    return attrs.field(default=default, validator=rules.one_of(default, *others))


@attrs.frozen(kw_only=True)
class Replay:
    """What `upstream.tape` obeys."""

    # In which order requests must come: any, each method's in its own as recorded, or all as recorded.
    order: Literal["any", "per-method", "strict"] = _one_of("any", "per-method", "strict")
    # Whose answers are given again once they are used up: initialize, ping, lists and their kin; everybody's; nobody's.
    repeats: Literal["safe", "all", "none"] = _one_of("safe", "all", "none")
    # What a request gets that is not on the tape: an error; that and a warning in the log; the live server's answer; that, and it goes on the tape.
    on_miss: Literal["error", "warn", "forward", "record"] = _one_of("error", "warn", "forward", "record")
    # How long answers take: none, recorded, scale:FACTOR, or cap:SECONDS (as recorded, but no pause longer than that).
    timing: str = attrs.field(default="none", validator=rules.text(syntax.timing))
    # What two requests may differ in: JSON pointers, "/params/arguments/now"; for one method only, "tools/call:/params/arguments/now"; * is any member.
    ignore: tuple[str, ...] = attrs.field(default=(), validator=rules.texts(syntax.ignored))

    @property
    def needs_live(self) -> bool:
        """Whether a live server must stand behind the tape."""
        return self.on_miss in ("forward", "record")
