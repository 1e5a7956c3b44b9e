"""Findings: what is told of answers and of messages, and how it is counted."""
from __future__ import annotations

from dialogue import message
from tapes import request

from shadowproxy.tape.matching.jsondiff import VOLATILE
from shadowproxy.tape.verifying.crossing import Arrived, Expected
from shadowproxy.tape.verifying.findings import Findings
from shadowproxy.tape.verifying.playing import Play
from shadowproxy.tape.verifying.verdicts import Answer, Finding


def made() -> tuple[Findings, list[Finding]]:
    told: list[Finding] = []
    return Findings(told.append, VOLATILE), told


def taken(live: Answer, **rest: object) -> Play:
    frame = request(3, "tools/call", session="s1", exchange=7, **rest)
    play = Play(7, frame, message(id=1, method="tools/call"), "tools/call x", b"1")
    play.recorded, play.live, play.seconds = Answer({"id": 1, "result": {"x": 1}}), live, 0.5
    return play


def test_answers() -> None:
    findings, told = made()
    findings.answered(taken(Answer({"id": 2, "result": {"x": 1}})))
    findings.answered(taken(Answer({"id": 2, "result": {"x": 2}})))
    findings.answered(taken(Answer(refusal="timeout", text="late", lost=True), redacted=("key",)))
    assert [(one.verdict, one.label, one.session, one.exchange, one.n, one.seconds) for one in told] == [
        (verdict, "tools/call x", "s1", 7, 3, 0.5) for verdict in ("MATCH", "CHANGED", "MISSING")]  # fmt: skip
    assert [one.reason for one in told] == ["", "", "timeout: late; the request has redacted values, which were sent as they are"]
    assert {verdict: count for verdict, count in findings.tally.counts.items() if count} == {"MATCH": 1, "CHANGED": 1, "MISSING": 1}


def test_messages() -> None:
    findings, told = made()
    old, same, other = (message(method="notifications/message", params={"data": data}) for data in ("a", "a", "b"))
    findings.paired("s1", Expected(old, 5, 7), Arrived(same, 7))
    assert (told, findings.tally.messages, findings.tally.findings) == ([], 1, 0)
    findings.paired("s1", Expected(old, 5, 7), Arrived(other, 7))
    findings.paired("s1", Expected(old, 5, 7), None)
    findings.paired(None, None, Arrived(message(id=1, method="roots/list"), 8))
    assert [(one.verdict, one.what, one.session, one.exchange, one.n) for one in told] == [
        ("CHANGED", "notification", "s1", 7, 5), ("MISSING", "notification", "s1", 7, 5), ("EXTRA", "request", None, 8, None)]  # fmt: skip
    assert [str(one) for one in told[0].differences] == ['/params/data: "a" -> "b"']


def test_what_could_not_be_said() -> None:
    findings, told = made()
    findings.not_taken(request(3, "notifications/x", session="s1"), "it is dead")
    findings.not_taken(None, "it is dead")
    findings.not_played(request(4, "ping"), "no JSON")
    assert [(one.verdict, one.label, one.n) for one in told] == [("MISSING", "notifications/x", 3), ("MISSING", "an answer to the server", None), ("MISSING", "ping", 4)]
    assert told[2].reason == "this frame cannot be played: no JSON"
