"""All scenarios: which server, how it is spoken to, what is said. Each has its tape in `scenarios/tapes/`.

`client` and `server` are how the proxy is spoken to, and how it speaks to the server, when the tape is made.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import attrs
import scripts_everything as everything
import scripts_reference as reference
from scripted_client import Era, Json, ScriptedClient
from scripts_everything import Crash

Wire: TypeAlias = Literal["http", "stdio"]
Script: TypeAlias = Callable[[ScriptedClient, Crash], Awaitable[None]]
TAPES: Final = Path(__file__).resolve().parents[1] / "tapes"
ALL: Final[Json] = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}
VIRTUAL: Final = 100.0
"""Seconds for a script that is replayed: more than any takes."""


@attrs.frozen
class Scene:
    """`differs`: where a live server's answers are its own affair, as `shadowproxy verify --ignore` takes it. `verified`: whether `verify`
    can play it against a live server: it kills none, and loses no streams."""

    name: str
    server: str
    script: Script
    client: Wire = "http"
    behind: Wire = "stdio"
    era: Era = "legacy"
    capabilities: Json = attrs.field(factory=dict)
    differs: tuple[str, ...] = ()
    verified: bool = True

    @property
    def tape(self) -> Path:
        return TAPES / f"{self.name}.jsonl"

    @property
    def wires(self) -> tuple[Wire, ...]:
        """How a client may speak when it is replayed: on a pipe it has no streams that could be lost, and but one session."""
        return ("http",) if self.script in (everything.resumption, everything.crashing) else ("http", "stdio")

    def new_client(self) -> ScriptedClient:
        return ScriptedClient(self.era, self.capabilities, everything.WHO if self.capabilities else None)


_CLOCK = ("tools/call:/result/content/*/text", "tools/call:/result/structuredContent/**/datetime")
_TASKS = ("/**/createdAt", "/**/lastUpdatedAt")
SCENES: Final = (
    Scene("everything-tools", "everything", everything.tools),
    Scene("everything-errors", "everything", everything.errors, client="stdio"),
    Scene("everything-progress", "everything", everything.progress, behind="http"),
    Scene("everything-cancellation", "everything", everything.cancellation, behind="http"),
    Scene("everything-questions", "everything", everything.questions, behind="http", capabilities=ALL),
    Scene("everything-questions-stdio", "everything", everything.questions, client="stdio", capabilities=ALL),
    Scene("everything-logging", "everything", everything.logging, client="stdio"),
    Scene("everything-offers", "everything", everything.offers, behind="http"),
    Scene("everything-slow", "everything", everything.slow, client="stdio"),
    Scene("everything-crash", "everything", everything.crashing, verified=False),
    Scene("everything-resumption", "everything", everything.resumption, behind="http", verified=False),
    Scene("everything-research", "everything", everything.research, differs=_TASKS),
    Scene("files", "filesystem", reference.files, client="stdio"),
    Scene("files-large", "filesystem", reference.large_file),
    Scene("memory", "memory", reference.memory, client="stdio"),
    Scene("thoughts", "sequential-thinking", reference.thoughts),
    Scene("time-modern", "time", reference.time, era="modern", differs=_CLOCK),
    Scene("time-legacy", "time", reference.time, client="stdio", differs=_CLOCK),
    Scene("fetch-modern", "fetch", reference.fetch, era="modern"),
    Scene("git-modern", "git", reference.git, client="stdio", era="modern"),
)
