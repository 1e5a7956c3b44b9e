"""What a crowd of clients will do, drawn by a `Random`: Hypothesis's own in the short form, which can then shrink it; one of a seed in the long form.

Out: a `Plan`. Times are small whole numbers of virtual seconds, so that much happens in the same moment. All clients call their requests and tokens the same.
"""
from __future__ import annotations

from random import Random
from typing import Any

import attrs

IDS: tuple[Any, ...] = (1, "1", 2**70, 0, "", "x\u2028\n", -1)
TOKENS: tuple[Any, ...] = (None, None, 1, "1", 2**53 + 1)
REQUEST = 4.0
"""The deadline of a request."""
ASKING = 1.0
"""Seconds that the server waits for the answer to a request of its own."""


@attrs.frozen
class Step:
    """One exchange: what its client asks for, how the server will take it, and whether the client waits for the end of it."""

    id: Any
    token: Any
    kind: str  # "call", or "listen" for a subscription
    end: str  # the server's: "result", "error", "silence", "death"
    notes: int  # that come before
    delay: float  # before each thing the server says
    extras: frozenset[str]  # "log", "ask", "shout": what else the server says
    pause: float  # the client's, before it asks
    patience: float | None  # after which the client leaves
    cancels: bool  # it says so, instead of leaving

    @property
    def slow(self) -> bool:
        """Whether the deadline may pass before the server says anything."""
        silent = self.delay if self.token is not None or self.kind == "listen" else (self.notes + 1) * self.delay
        return self.end == "silence" or silent + ASKING * (self.notes + 1) >= REQUEST


@attrs.frozen
class Plan:
    """For each session what each of its connections does, one step after the other; and how many the upstream may have at once."""

    sessions: tuple[tuple[tuple[Step, ...], ...], ...]
    pool: int | None


def draw(random: Random, modern: bool, sessions: int = 5, steps: int = 6) -> Plan:
    """At most so many sessions of three connections each, with so many steps each. Without mortality half of the time: then the answers have to come."""
    mortal, short = random.random() < 0.5, random.random() < 0.3
    lanes = [[random.randint(1, steps) for _ in range(random.randint(1, 3))] for _ in range(random.randint(1, sessions))]
    found = tuple(tuple(tuple(_step(random, modern, mortal) for _ in range(count)) for count in counts) for counts in lanes)
    return Plan(found, random.randint(1, 3) if short else None)


def _step(random: Random, modern: bool, mortal: bool) -> Step:
    kind = "listen" if modern and random.random() < 0.15 else "call"
    end = random.choice(["result"] * 8 + ["error", "silence"] + ["death"] * mortal)
    patience = random.choice([None, None, None, 0, 1, 2, 3])
    if kind == "listen" and end == "silence" and patience is None:
        patience = 5  # or it would stand for ever
    extras = frozenset(word for word in ("log", "ask", "shout") if random.random() < 0.15)
    return Step(random.choice(IDS), random.choice(TOKENS), kind, end, random.choice([0, 0, 0, 1, 2]), random.choice([0, 0, 0, 1, 1, 2, 5]), extras,
                random.choice([0, 0, 0, 1, 2]), patience, not modern and random.random() < 0.4)  # fmt: skip
