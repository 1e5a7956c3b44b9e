"""Findings as they are made: what was recorded and what came live -> verdicts, told at once, and counted. Pure code.

In: pairs of answers, and of messages of the server's. Out: each `Finding` to whoever is told, and a `Tally`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import Ignoring, differences
from shadowproxy.tape.verifying.crossing import Arrived, Expected, value_of
from shadowproxy.tape.verifying.playing import Play
from shadowproxy.tape.verifying.verdicts import Finding, Tally, judge, label_of


class Findings:
    """`told` is called with each, MATCH included; of messages that came as recorded there is only a count."""

    def __init__(self, told: Callable[[Finding], None], ignoring: Ignoring) -> None:
        self._told, self._ignoring = told, ignoring
        self.tally = Tally()

    def answered(self, taken: Play) -> None:
        """Both answers are known."""
        assert taken.recorded is not None
        assert taken.live is not None
        verdict, reason, found = judge(taken.recorded, taken.live, self._ignoring, taken.message.method)
        if verdict != "MATCH" and taken.frame.redacted:
            reason = f"{reason}; the request has redacted values, which were sent as they are".removeprefix("; ")
        self._tell(Finding(verdict=verdict, label=taken.label, reason=reason, differences=found, seconds=taken.seconds, **_place(taken.frame)))

    def paired(self, session: str | None, expected: Expected | None, arrived: Arrived | None) -> None:
        """A message of the server's; one of the two may be None."""
        one = expected or arrived
        assert one is not None
        about = Finding(verdict="CHANGED", label=label_of(one.message), what="request" if one.message.is_request else "notification", session=session, exchange=one.exchange,
                        n=None if expected is None else expected.n)  # fmt: skip
        if expected is None or arrived is None:
            return self._tell(attrs.evolve(about, verdict="EXTRA" if expected is None else "MISSING"))
        found = tuple(differences(value_of(expected.message), value_of(arrived.message), self._ignoring, one.message.method))
        if found:
            self._tell(attrs.evolve(about, differences=found))
        else:
            self.tally.messages += 1

    def not_taken(self, frame: Frame | None, reason: str) -> None:
        """What the client sent, and the server did not take; `frame` None: its answer to the server."""
        place = {} if frame is None else _place(frame)
        self._tell(Finding(verdict="MISSING", label=(frame and frame.method) or "an answer to the server", what="notification", reason=reason, **place))

    def not_played(self, frame: Frame, reason: str) -> None:
        self._tell(Finding(verdict="MISSING", label=frame.method or frame.kind, reason=f"this frame cannot be played: {reason}", **_place(frame)))

    def _tell(self, finding: Finding) -> None:
        self.tally.counts[finding.verdict] += 1
        self._told(finding)


def _place(frame: Frame) -> dict[str, Any]:
    return {"session": frame.session, "exchange": frame.exchange, "n": frame.n}
