"""Verdicts: what a recorded answer and a live one make of an exchange."""
from __future__ import annotations

from typing import Any

import pytest
from dialogue import message
from tapes import happening, raw, response

from shadowproxy.errors import ProxyError, RequestCancelled, SpecError, UpstreamAnswered, UpstreamExited, UpstreamTimeout
from shadowproxy.tape.frame import Http
from shadowproxy.tape.matching.jsondiff import VOLATILE
from shadowproxy.tape.verifying.verdicts import Answer, Finding, Tally, judge, label_of


def result(**members: Any) -> Answer:
    return Answer.of_message(message(id=1, result=members))


def error(code: int, text: str = "no", **members: Any) -> Answer:
    return Answer.of_message(message(id=1, error={"code": code, "message": text, **members}))


def failed(why: ProxyError) -> Answer:
    return Answer.of_error(why)


TOOL_ERROR = result(content=[], isError=True)
GONE = Answer(refusal="cancelled", lost=True)


@pytest.mark.parametrize(("recorded", "live", "verdict"), [
    (result(a=1), result(a=1), "MATCH"),
    (result(a=1), result(a=2), "CHANGED"),
    (result(a=1), result(a=1, _meta={"x": 1}), "MATCH"),
    (result(a=1), error(-32602), "ERROR-SHAPE-CHANGED"),
    (error(-32602), result(a=1), "ERROR-SHAPE-CHANGED"),
    (error(-32602), error(-32602), "MATCH"),
    (error(-32602), error(-32602, "other words"), "CHANGED"),
    (error(-32602), error(-32000), "ERROR-SHAPE-CHANGED"),
    (result(content=[]), TOOL_ERROR, "ERROR-SHAPE-CHANGED"),
    (TOOL_ERROR, result(content=[], isError=False), "ERROR-SHAPE-CHANGED"),
    (result(content=[], isError=False), result(content=[]), "CHANGED"),
    (result(a=1), failed(UpstreamTimeout("slow")), "MISSING"),
    (result(a=1), failed(UpstreamExited("dead")), "MISSING"),
    (error(-32602), failed(UpstreamExited("dead")), "MISSING"),
    (result(a=1), failed(UpstreamAnswered(401, (), b"")), "ERROR-SHAPE-CHANGED"),
    (failed(UpstreamAnswered(401, (), b"")), failed(UpstreamAnswered(401, (), b"other")), "MATCH"),
    (failed(UpstreamAnswered(401, (), b"")), failed(UpstreamAnswered(403, (), b"")), "ERROR-SHAPE-CHANGED"),
    (failed(UpstreamTimeout("slow")), failed(UpstreamTimeout("slow again")), "MATCH"),
    (failed(UpstreamTimeout("slow")), result(a=1), "ERROR-SHAPE-CHANGED"),
    (failed(SpecError(400, -32022, "no")), error(-32022, "no", data={}), "MATCH"),
    (GONE, GONE, "MATCH"),
    (GONE, result(a=1), "MATCH"),
    (GONE, failed(RequestCancelled("so it was")), "MATCH"),
    (failed(RequestCancelled("so it was")), GONE, "MATCH"),
    (GONE, failed(UpstreamExited("dead")), "MISSING"),
    (result(a=1), GONE, "MISSING"),
])  # fmt: skip
def test_verdicts(recorded: Answer, live: Answer, verdict: str) -> None:
    assert judge(recorded, live, VOLATILE, "tools/call")[0] == verdict


def test_what_changed_is_told() -> None:
    _, reason, found = judge(result(a=1), result(a=2), VOLATILE, None)
    assert (reason, [str(one) for one in found]) == ("", ["/result/a: 1 -> 2"])
    _, reason, found = judge(error(-32602, "bad text"), result(a=1), VOLATILE, None)
    assert reason == "recorded: error -32602: bad text; now: a result"
    assert [one.pointer for one in found] == ["/error", "/result"]
    assert judge(result(), failed(UpstreamExited("it ended with status 3")), VOLATILE, None)[1] == "upstream_exited (502): it ended with status 3"


def test_recorded_answers_are_read_from_their_frames() -> None:
    assert Answer.of_frame(response(2, re=1, result={"a": 1})).shape == ("result",)
    refused = Answer.of_frame(happening(2, "refusal", exchange=1, re=1, error="upstream_refused", http=Http(status=401), text="who?"))
    assert refused.shape == ("refused", "upstream_refused", 401)
    assert str(refused) == "upstream_refused (401): who?"
    spoken = happening(2, "refusal", exchange=1, re=1, error="proxy_error", http=Http(status=400), message=raw({"id": 1, "error": {"code": -32022, "message": "no"}}))
    assert Answer.of_frame(spoken).shape == ("error", -32022)
    timed_out = happening(2, "refusal", exchange=1, re=1, error="upstream_timeout", http=Http(status=504), message=raw({"id": 1, "error": {"code": 1004, "message": "slow"}}))
    assert str(Answer.of_frame(timed_out)) == "upstream_timeout (504): slow"
    assert Answer.of_frame(happening(2, "cancelled", exchange=1, re=1)).cancelled
    assert Answer.of_frame(happening(2, "close", exchange=1, re=1)).lost


@pytest.mark.parametrize(("members", "label"), [
    ({"method": "tools/call", "params": {"name": "echo"}}, "tools/call echo"), ({"method": "resources/read", "params": {"uri": "file:///a"}}, "resources/read file:///a"),
    ({"method": "tools/list"}, "tools/list"), ({"method": "x", "params": [1]}, "x"), ({"method": "x", "params": {"name": 7}}, "x"),
])  # fmt: skip
def test_labels(members: dict[str, Any], label: str) -> None:
    assert label_of(message(**members)) == label


def test_places_and_sums() -> None:
    assert Finding(verdict="EXTRA", label="x", session="s1").place == "session s1"
    assert Finding(verdict="MISSING", label="x", n=3, other=5, exchange=2).place == "frame 3, frame of the other 5, exchange 2"
    tally = Tally()
    tally.counts["MATCH"] += 2
    assert tally.findings == 2
