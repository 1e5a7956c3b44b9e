"""Scanning a tape that is written: findings say where, by which rule, and never what."""
from __future__ import annotations

import pytest
from hypothesis import given
from planting import planted
from tapes import HEADER, happening, raw, request, response

from shadowproxy.tape.frame import Frame, Http, Sse
from shadowproxy.tape.redaction.redact import DEFAULT, Redaction, Redactor
from shadowproxy.tape.redaction.scan import KNOWN, Finding, _Scanner, scan
from shadowproxy.wire.jsonrpc import Raw

SECRET = "ghp_" + "a1" * 18


def findings(*frames: Frame, entropy: bool = False, redaction: Redaction = DEFAULT) -> list[Finding]:
    return list(scan(frames, entropy=entropy, redaction=redaction))


def test_where_and_by_which_rule() -> None:
    found = findings(
        request(1, "tools/call", {"arguments": {"password": "hunter2"}}, http=Http("POST", None, (("authorization", "Bearer abc"), ("accept", "*/*"), ("server", SECRET)))),
        response(2, 1, result={"content": [{"type": "text", "text": f"it is {SECRET}"}]}, sse=Sse(id=SECRET)),
        happening(3, "refusal", text="token=abc123"),
    )
    assert [(finding.n, finding.where, finding.rule) for finding in found] == [
        (1, "/params/arguments/password", "password"), (1, "header:authorization", "authorization"), (1, "header:server", "github"),
        (2, "/result/content/0/text", "github"), (2, "sse.id", "github"), (3, "text", "assigned"),
    ]  # fmt: skip
    assert found[0].excerpt.endswith('"password":"‹7 characters›"}}}')
    assert found[1].excerpt == "authorization: ‹10 characters›"


@given(planted(), planted())
def test_no_excerpt_shows_a_secret(one: tuple[str, str], two: tuple[str, str]) -> None:
    frame = happening(1, "event", message=Raw(f"[{one[0]},{two[0]}]".encode()), text=one[0])
    found = findings(frame)
    assert {finding.where.startswith("/0") for finding in found if finding.where.startswith("/")} == {True, False}
    for finding in found:
        assert one[1] not in finding.excerpt
        assert two[1] not in finding.excerpt
        assert "\n" not in finding.excerpt


@given(planted())
def test_what_is_redacted_has_no_findings(case: tuple[str, str]) -> None:
    frame = happening(1, "refusal", message=Raw(case[0].encode()), text=case[0], http=Http("POST", 403, (("cookie", "x"), ("x-y", "z"))))
    assert findings(frame)
    assert findings(Redactor(DEFAULT, b"k" * 32).frame(frame)) == []


def test_fields_that_are_clean_are_remembered_within_bounds_and_others_are_told_again() -> None:
    scanner = _Scanner(DEFAULT, False)
    dirty = request(1, "ping", http=Http("POST", None, (("accept", "*/*"), ("cookie", "c"))))
    for number in range(KNOWN + 10):
        clean = request(1, "ping", http=Http("POST", None, (("accept", f"a{number}"),)))
        assert not list(scanner.frame(clean))
        assert not list(scanner.frame(clean))
        assert [finding.rule for finding in scanner.frame(dirty)] == ["cookie"]
    assert 0 < len(scanner._clean) <= KNOWN


def test_every_member_of_a_frame_is_scanned() -> None:
    frame = Frame(n=1, t=0.0, dir="s2c", kind="event", session=SECRET, method=SECRET, id=raw(SECRET), token=raw(SECRET), error=SECRET, text=f"x {SECRET}",
                  http=Http(None, 200, (("server", SECRET),)), sse=Sse(SECRET, SECRET, 1, SECRET, SECRET))  # fmt: skip
    assert {finding.where for finding in findings(frame)} == {
        "session", "method", "id", "token", "error", "text", "header:server", "sse.id", "sse.event", "sse.data", "sse.comment",
    }  # fmt: skip


def test_rarer_looks_are_found_too() -> None:
    frame = response(1, 1, result={"x": "ya29." + "aB1-" * 8})
    assert Redactor(DEFAULT, b"k" * 32).frame(frame) == frame
    assert [finding.rule for finding in findings(frame)] == ["google-oauth"]


@pytest.mark.parametrize(("text", "random"), [
    ("aT4k9ZpQ1xW7vB3nM8sL2dF6", True), ("d41d8cd98f00b204e9800998ecf8427e", False), ("123e4567-e89b-12d3-a456-426614174000", False), ("AnOrdinaryNameOfSomeClass2", False),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaA1", False),
])  # fmt: skip
def test_what_looks_like_chance_on_request(text: str, random: bool) -> None:
    frame = response(1, 1, result={"x": text})
    assert findings(frame) == []
    assert [finding.rule for finding in findings(frame, entropy=True)] == ["entropy"] * random


def test_the_header_is_scanned_first() -> None:
    header = type(HEADER)(tool="t", origin=0.0, upstream="https://u:pw@host/", server=raw({"token": "x"}))
    found = list(scan([response(1, 1, result={"secret": "x"})], header))
    assert [(finding.n, finding.where, finding.rule) for finding in found] == [(0, "upstream", "url"), (0, "/server/token", "token"), (1, "/result/secret", "secret")]


def test_a_policy_of_ones_own() -> None:
    frame = request(1, "x", {"pin": 4711}, http=Http("POST", None, (("x-own", "v"),)))
    assert {finding.rule for finding in findings(frame, redaction=Redaction(keys=("pin",), headers=("x-own",)))} == {"key"}
