"""Whatever was recorded, and however slow a server is: one that answers from the tape matches it, and one that changes an answer is found out."""
from __future__ import annotations

import random
from typing import Any

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import Scripted
from tapes import happening, notification, request, response

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.verifying.verdicts import Finding, Tally
from shadowproxy.tape.verifying.verify import Verifier

STEPS = st.lists(st.tuples(st.sampled_from(["ask", "ask", "answer", "answer", "progress", "log", "sample", "note", "cancel", "listen"]), st.integers(0, 5)), max_size=40)


class Conversation:
    """Steps -> frames, as a recorder would write them: one legacy session, exchanges that overlap."""

    def __init__(self, steps: list[tuple[str, int]]) -> None:
        self.frames: list[Frame] = []
        self.open: list[int] = []
        self.stream: int | None = None
        self._put(request, "initialize", {"v": 1})
        self._end(1, result={"v": 1})
        for what, which in steps:
            getattr(self, f"_{what}")(which)
        while self.open:
            self._answer(0)

    @property
    def n(self) -> int:
        return len(self.frames) + 1

    def _put(self, make: Any, *args: Any, **rest: Any) -> None:
        self.frames.append(make(self.n, *args, session="s1", **rest))

    def _end(self, asked: int, **members: Any) -> None:
        self._put(response, asked, id=asked, **members)

    def _ask(self, which: int) -> None:
        self.open.append(self.n)
        self._put(request, "tools/call", {"name": f"t{which}", "arguments": {"n": self.n}, "_meta": {"progressToken": self.n}}, id=self.n)

    def _answer(self, which: int) -> None:
        if self.open:
            asked = self.open.pop(which % len(self.open))
            self._end(asked, **({"result": {"of": asked}} if which else {"error": {"code": -32000 - asked, "message": "no"}}))

    def _progress(self, which: int) -> None:
        if self.open:
            asked = self.open[which % len(self.open)]
            self._put(notification, "notifications/progress", {"progressToken": asked, "progress": self.n}, exchange=asked, stream=f"x{asked}")

    def _log(self, which: int) -> None:
        if self.open:
            asked = self.open[which % len(self.open)]
            self._put(notification, "notifications/message", {"data": which % 2}, exchange=asked, stream=f"x{asked}")
        elif self.stream is not None:
            self._put(notification, "notifications/message", {"data": which % 2}, exchange=self.stream, stream=f"g{self.stream}")

    def _sample(self, which: int) -> None:
        if self.open:
            asked, n = self.open[which % len(self.open)], self.n
            self._put(request, "sampling/createMessage", {"n": n}, id=f"s{n}", dir="s2c", exchange=asked, stream=f"x{asked}")
            self._put(response, n, id=f"s{n}", dir="c2s", result={"n": n}, exchange=None)

    def _note(self, which: int) -> None:
        self._put(notification, "notifications/roots/list_changed", {"n": self.n}, dir="c2s")

    def _cancel(self, which: int) -> None:
        if self.open:
            asked = self.open.pop(which % len(self.open))
            self._put(notification, "notifications/cancelled", {"requestId": asked}, dir="c2s")
            self._put(happening, "cancelled", dir="c2s", exchange=asked, re=asked)

    def _listen(self, which: int) -> None:
        if self.stream is None:
            self.stream = self.n
            self._put(happening, "open", dir="c2s", exchange=self.n, stream=f"g{self.n}")


def run(frames: list[Frame], server: Scripted) -> tuple[list[Finding], Tally]:
    found: list[Finding] = []

    async def main() -> Tally:
        return await Verifier(server, found.append).run(frames)

    return found, trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(STEPS, st.integers())
def test_a_server_that_answers_from_the_tape_matches_it(steps: list[tuple[str, int]], seed: int) -> None:
    talk = Conversation(steps)
    found, tally = run(talk.frames, Scripted(talk.frames, pause=_pauses(seed)))
    assert [finding for finding in found if finding.verdict != "MATCH"] == []
    asked = [frame for frame in talk.frames if frame.kind == "request" and frame.dir == "c2s"]
    assert (tally.counts["MATCH"], tally.unjudged) == (len(asked), 0)
    assert tally.messages == sum(frame.dir == "s2c" and frame.kind in ("notification", "request") for frame in talk.frames)


@example([("ask", 0), ("ask", 0), ("log", 0), ("cancel", 0), ("log", 0)], 0)  # the same words on two streams, one of which is given up
@given(STEPS.filter(lambda steps: any(what == "ask" for what, _ in steps)), st.integers())
def test_one_changed_answer_is_found_and_nothing_else(steps: list[tuple[str, int]], seed: int) -> None:
    talk = Conversation(steps)
    answers = [frame for frame in talk.frames if frame.kind == "response" and frame.dir == "s2c"]
    victim = random.Random(seed).choice(answers)

    def change(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "result": {"changed": True}} if "method" not in value and value == victim.value() and "result" in value else value

    found, _ = run(talk.frames, Scripted(talk.frames, change, _pauses(seed)))
    changed = [finding for finding in found if finding.verdict != "MATCH"]
    assert [(finding.verdict, finding.n) for finding in changed] == ([("CHANGED", victim.re)] if "result" in victim.value() else [])


def _pauses(seed: int) -> Any:
    generator = random.Random(seed)
    return lambda: generator.choice([0.0, 0.0, 0.01, 0.3, 2.0])
