"""What can be said after `replay`, beside what `forward` and `reverse` know: its options, their help. Cyclopts reads them.

In: words. Out: `Rules`, as settings by their paths. Nothing here starts or opens anything, so that the other verbs do not wait for what only this one needs.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from cyclopts import Group, Parameter

_REPLAYING = Group("Replaying", sort_key=0)


def _say(help: str) -> Any:
    return Parameter(help=help, group=_REPLAYING, negative="")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Rules:
    """The options of `replay`."""

    on_miss: Annotated[Literal["error", "warn", "forward", "record"] | None, _say(
        "What a request gets that is not on the tape: an error that shows the nearest (default); that and a line in the log; "
        "the answer of the URL or command; that, and it is appended to the tape.")] = None  # fmt: skip
    order: Annotated[Literal["any", "per-method", "strict"] | None, _say("In which order requests must come (default any).")] = None
    repeats: Annotated[Literal["safe", "all", "none"] | None, _say(
        "Whose answers are given again when they are used up: initialize, ping and lists (safe, the default), everybody's, nobody's.")] = None  # fmt: skip
    timing: Annotated[str | None, _say("none (default), recorded, scale:FACTOR, or cap:SECONDS.")] = None
    ignore: Annotated[list[str] | None, _say("A JSON pointer in which requests may differ: /params/arguments/now, tools/call:/**/id; may be repeated.")] = None

    def settings(self) -> dict[str, Any]:
        """By their paths in the settings."""
        return {"replay.on_miss": self.on_miss, "replay.order": self.order, "replay.repeats": self.repeats, "replay.timing": self.timing, "replay.ignore": self.ignore}
