"""Reports of a verification: findings, as they are made -> text for people, JSON, or JUnit XML for a build server.

In: `Finding`s, then the `Tally`. Out: text written to a stream of the caller's, who closes that. Nothing keeps the findings: JUnit, which wants its sums
first, keeps what it has written in a temporary file.
"""
from __future__ import annotations

import re
import shutil
import tempfile
from types import TracebackType
from typing import Any, Final, Protocol, Self, TextIO
from xml.sax.saxutils import escape, quoteattr

import msgspec

from shadowproxy.tape.terminal import Terminal
from shadowproxy.tape.verifying.verdicts import Finding, Tally, Verdict

COLOURS: Final[dict[Verdict, str]] = {"MATCH": "green", "CHANGED": "yellow", "ERROR-SHAPE-CHANGED": "red", "MISSING": "red", "EXTRA": "magenta"}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Report(Protocol):
    """What a verification is told to."""

    def finding(self, finding: Finding) -> None: ...

    def end(self, tally: Tally) -> None:
        """All has been told."""
        ...


class TextReport:
    """For people: what did not match, with its differences; `verbose`: what did, too. A reason that is that of the finding before is not told again."""

    def __init__(self, out: TextIO, *, verbose: bool = False) -> None:
        self._terminal, self._verbose, self._reason = Terminal(out), verbose, ""

    def finding(self, finding: Finding) -> None:
        if finding.verdict == "MATCH" and not self._verbose:
            return
        again = bool(finding.reason) and finding.reason == self._reason
        place = f"  ({finding.place})" if finding.place else ""
        self._terminal.line((COLOURS[finding.verdict], f"{finding.verdict:<20}"), ("", finding.label), ("dim", place), ("", "  likewise" if again else ""))
        for text in ([finding.reason] if finding.reason and not again else []) + [str(difference) for difference in finding.differences]:
            self._terminal.line(("", f"    {text}"))
        self._reason = finding.reason

    def end(self, tally: Tally) -> None:
        self._terminal.line(("", summary(tally)))


def summary(tally: Tally) -> str:
    """The sums, in a line."""
    parts = [f"{count} {verdict}" for verdict, count in tally.counts.items() if count] or ["nothing to verify"]
    if tally.messages:
        parts.append(f"{tally.messages} messages of the server as recorded")
    if tally.unjudged:
        parts.append(f"{tally.unjudged} unjudged (no answer in the tape)")
    if tally.lost:
        parts.append(f"{tally.lost} frames of the tape are lost")
    return ", ".join(parts)


class JsonReport:
    """One object: `findings`, one a line, and then `counts` and the rest of the tally."""

    def __init__(self, out: TextIO, tape: str, against: str) -> None:
        self._out, self._first = out, True
        out.write(f'{{"tape":{_json(tape)},"against":{_json(against)},"findings":[')

    def finding(self, finding: Finding) -> None:
        self._out.write(("\n" if self._first else ",\n") + _json(as_json(finding)))
        self._first = False

    def end(self, tally: Tally) -> None:
        rest = {"counts": tally.counts, "messages": tally.messages, "unjudged": tally.unjudged, "lost": tally.lost}
        self._out.write("\n]," + _json(rest)[1:] + "\n")


def as_json(finding: Finding) -> dict[str, Any]:
    """Without what is empty."""
    members = {
        "verdict": finding.verdict, "what": finding.what, "label": finding.label, "session": finding.session, "exchange": finding.exchange, "n": finding.n, "other": finding.other,
        "seconds": round(finding.seconds, 6), "reason": finding.reason or None, "differences": [one.as_json() for one in finding.differences] or None,
    }  # fmt: skip
    return {name: value for name, value in members.items() if value is not None}


class JUnitReport:
    """A test case for every finding; what did not match is a failure, except for `passing` verdicts."""

    def __init__(self, out: TextIO, tape: str, passing: frozenset[Verdict] = frozenset({"MATCH"})) -> None:
        self._out, self._tape, self._passing = out, tape, passing
        self._cases = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 -- closed by `close`
        self._seconds, self._failures = 0.0, 0

    def finding(self, finding: Finding) -> None:
        self._seconds += finding.seconds
        name = f"{finding.label} ({finding.place})" if finding.place else finding.label
        self._cases.write(f'  <testcase classname={_attribute(self._tape)} name={_attribute(name)} time="{finding.seconds:.3f}">')
        if finding.verdict not in self._passing:
            self._failures += 1
            text = "\n".join([finding.reason, *map(str, finding.differences)]).strip()
            self._cases.write(f'<failure type="{finding.verdict}" message={_attribute(finding.verdict)}>{escape(_clean(text))}</failure>')
        self._cases.write("</testcase>\n")

    def end(self, tally: Tally) -> None:
        sums = f'tests="{tally.findings}" failures="{self._failures}" errors="0" skipped="0" time="{self._seconds:.3f}"'
        self._out.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {sums}>\n <testsuite name={_attribute(f"shadowproxy verify {self._tape}")} {sums}>\n')
        self._cases.seek(0)
        shutil.copyfileobj(self._cases, self._out)
        self._out.write(" </testsuite>\n</testsuites>\n")

    def close(self) -> None:
        self._cases.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    """What XML cannot hold (most controls) is replaced."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
