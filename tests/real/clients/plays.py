"""Plays: what a client does, act by act, and what its report must say when nothing stood between it and the server.

The same ones for every SDK; `players/` perform them.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

Json = dict[str, Any]
ECHO = "grüß Gott \u2028 \U0001f600"
LEGACY, MODERN = "2025-11-25", "2026-07-28"


@attrs.frozen
class Play:
    """`server` is the name it says it has, `tools` are some of those it lists; one of `results` for each of `acts`; `says` is part of `text`."""

    server: str
    tools: frozenset[str]
    acts: Sequence[Json]
    results: Sequence[Json]
    asked: frozenset[str]

    def check(self, report: Json, version: str, *, introduced: bool = True) -> None:
        """Whether a player's report is what it must be. A client that does not ask who is there is not `introduced`."""
        assert (report["version"], report["server"]) == (version, self.server if introduced else None), report
        assert self.tools <= set(report["tools"]), report
        assert len(report["results"]) == len(self.results)
        for act, found, wanted in zip(self.acts, report["results"], self.results, strict=True):
            for name, value in wanted.items():
                assert value in found["text"] if name == "says" else value == found[name], f"{act}: {found}"
        assert set(report["asked"]) == self.asked, report


def call(tool: str, **arguments: Any) -> Json:
    return {"do": "call", "tool": tool, "arguments": arguments}


def cancel(tool: str, **arguments: Any) -> Json:
    return {"do": "cancel", "tool": tool, "arguments": arguments}


HOST_PLAY = Play(
    server="host",
    tools=frozenset({"echo", "pace", "nod", "greet", "change", "hang", "wait_for_leaving"}),
    acts=(
        call("echo", text=ECHO), {"do": "nod", "tool": "pace", "arguments": {"steps": 3}}, call("greet"), {"do": "hear", "tool": "change"},
        cancel("hang", label="Ada's call"), call("wait_for_leaving", label="Ada's call"), call("echo", text="still there"),
    ),
    results=(
        {"text": ECHO, "progress": []},
        {"text": "paced 3 steps", "progress": [1, 2, 3]},
        {"text": "Hello, Ada!"},
        {"text": "told", "told": ["notifications/tools/list_changed"]},
        {"text": "cancelled"},
        {"text": "Ada's call was cancelled"},
        {"text": "still there"},
    ),
    asked=frozenset({"elicitation/create"}),
)  # fmt: skip
"""With `host.py`, in both eras."""

EVERYTHING_PLAY = Play(
    server="mcp-servers/everything",
    tools=frozenset({"echo", "get-sum", "trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"}),
    acts=(
        {"do": "answer", "request": "roots/list"},  # which comes unasked, by the GET stream
        call("echo", message=ECHO),
        call("trigger-long-running-operation", duration=0.3, steps=3),
        call("trigger-sampling-request", prompt="say who", maxTokens=10),
        call("trigger-elicitation-request"),
        cancel("trigger-long-running-operation", duration=60, steps=600),
        call("echo", message="still there"),
    ),
    results=(
        {"asked": ["roots/list"]},
        {"text": f"Echo: {ECHO}"},
        {"progress": [1, 2, 3]},
        {"says": "said by Ada"},
        {"says": "- Name: Ada"},
        {"text": "cancelled"},
        {"text": "Echo: still there"},
    ),
    asked=frozenset({"roots/list", "sampling/createMessage", "elicitation/create"}),
)
"""With `@modelcontextprotocol/server-everything`, in the era of `initialize`."""
