"""Reports of a verification: text, JSON, JUnit."""
from __future__ import annotations

import io
import json
from collections.abc import Sequence
from xml.etree import ElementTree

from shadowproxy.tape.matching.jsondiff import Difference
from shadowproxy.tape.verifying.report import JsonReport, JUnitReport, Report, TextReport, summary
from shadowproxy.tape.verifying.verdicts import Finding, Tally

MATCH = Finding(verdict="MATCH", label="ping", n=1, exchange=1, seconds=0.25)
CHANGED = Finding(verdict="CHANGED", label='tools/call [bold]"<a>"\x00', n=3, session="s1", seconds=0.5, differences=(Difference("/result/x", "\x07", "</failure>"),))
MISSING = Finding(verdict="MISSING", label="ping", reason="timeout & more")


def told(report: Report, findings: Sequence[Finding] = (MATCH, CHANGED, MISSING)) -> None:
    tally = Tally(messages=2, unjudged=1, lost=3)
    for finding in findings:
        report.finding(finding)
        tally.counts[finding.verdict] += 1
    report.end(tally)


def test_text_shows_what_did_not_match() -> None:
    out = io.StringIO()
    told(TextReport(out))
    assert out.getvalue().splitlines() == [
        'CHANGED             tools/call [bold]"<a>"\\x00  (frame 3, session s1)', '    /result/x: "\\u0007" -> "</failure>"',
        "MISSING             ping", "    timeout & more",
        "1 MATCH, 1 CHANGED, 1 MISSING, 2 messages of the server as recorded, 1 unjudged (no answer in the tape), 3 frames of the tape are lost"]  # fmt: skip


def test_a_reason_is_told_once_in_a_row() -> None:
    out = io.StringIO()
    told(TextReport(out), [MISSING, MISSING, CHANGED, MISSING])
    assert [line.split()[-1] for line in out.getvalue().splitlines() if line.startswith("MISSING") or "timeout" in line] == ["ping", "more", "likewise", "ping", "more"]


def test_what_a_server_says_reaches_no_terminal_as_control() -> None:
    out = io.StringIO()
    evil = "\x1b[2J\x1b]0;title\x07\u202e\r"
    told(TextReport(out), [Finding(verdict="EXTRA", label=evil, reason=evil, session=evil, differences=(Difference(evil, evil, evil),))])
    assert all(line.isprintable() for line in out.getvalue().splitlines())


def test_text_shows_all_on_request_and_says_that_there_was_nothing() -> None:
    out = io.StringIO()
    told(TextReport(out, verbose=True), [MATCH])
    assert out.getvalue().startswith("MATCH               ping  (frame 1, exchange 1)\n")
    assert summary(Tally()) == "nothing to verify"


def test_json() -> None:
    out = io.StringIO()
    told(JsonReport(out, "a.jsonl", "http://x"))
    found = json.loads(out.getvalue())
    assert (found["tape"], found["against"], found["counts"]["MATCH"], found["messages"], found["unjudged"], found["lost"]) == ("a.jsonl", "http://x", 1, 2, 1, 3)
    assert found["findings"][0] == {"verdict": "MATCH", "what": "exchange", "label": "ping", "exchange": 1, "n": 1, "seconds": 0.25}
    assert found["findings"][1]["differences"] == [{"pointer": "/result/x", "kind": "changed", "old": "\x07", "new": "</failure>"}]
    assert out.getvalue().count("\n") == 5, "a finding a line"
    out = io.StringIO()
    told(JsonReport(out, "a.jsonl", "http://x"), [])
    assert json.loads(out.getvalue())["findings"] == []


def test_junit() -> None:
    out = io.StringIO()
    with JUnitReport(out, "a.jsonl", frozenset({"MATCH", "MISSING"})) as report:
        told(report)
    root = ElementTree.fromstring(out.getvalue())
    (suite,) = root
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "time")} == {"tests": "3", "failures": "1", "errors": "0", "time": "0.750"}
    assert root.attrib["failures"] == "1"
    first, second, third = suite
    assert (first.attrib, len(first)) == ({"classname": "a.jsonl", "name": "ping (frame 1, exchange 1)", "time": "0.250"}, 0)
    assert second.attrib["name"] == 'tools/call [bold]"<a>"\N{REPLACEMENT CHARACTER} (frame 3, session s1)'
    (failure,) = second
    assert (failure.attrib["type"], failure.text) == ("CHANGED", '/result/x: "\\u0007" -> "</failure>"')
    assert len(third) == 0, "a verdict that does not count is no failure"
