"""HTTP envelopes on tape: the fields that matter, without secrets, worked out once."""
from __future__ import annotations

import pytest

from shadowproxy.tape.frame import Frame, Http
from shadowproxy.tape.recording.envelopes import KNOWN, NO_ENVELOPE, Envelopes
from shadowproxy.tape.redaction.redact import DEFAULT, Redactor

SECRET = b"Bearer sk-abcdefghijklmnopqrstuvwxyz012345"


class Counting(Redactor):
    def __init__(self) -> None:
        super().__init__(DEFAULT, b"k" * 32)
        self.asked = 0

    def frame(self, frame: Frame) -> Frame:
        self.asked += 1
        return super().frame(frame)


def test_the_fields_that_matter_and_no_others() -> None:
    fields = [(b"host", b"a"), (b"accept", b"text/event-stream"), (b"mcp-param-city", b"Rome"), (b"x-trace", b"7")]
    assert Envelopes(None).of("POST", None, fields) == (Http("POST", None, (("accept", "text/event-stream"), ("mcp-param-city", "Rome"))), ())
    assert Envelopes(None).of(None, 404, ()) == (Http(None, 404), ())
    assert NO_ENVELOPE == (None, ())


def test_secrets_are_replaced_once_and_the_rule_is_told() -> None:
    redactor = Counting()
    envelopes = Envelopes(redactor)
    first, second = (envelopes.of("POST", None, [(b"authorization", bytes([*SECRET]))]) for _ in range(2))
    assert (first, redactor.asked) == (second, 1)
    http, rules = first
    assert http is not None
    assert http.headers[0][1].startswith("[REDACTED:")
    assert rules


def test_what_differs_is_told_apart() -> None:
    envelopes = Envelopes(None)
    found = {envelopes.of(verb, status, ((b"accept", value),)) for verb in ("POST", "GET") for status in (None, 200) for value in (b"a", b"b")}
    assert len(found) == 8


def test_only_so_many_are_remembered() -> None:
    redactor = Counting()
    envelopes = Envelopes(redactor)
    for number in range(3 * KNOWN):
        envelopes.of("POST", None, ((b"accept", b"%d" % number),))
        assert len(envelopes._known) <= KNOWN
    assert redactor.asked == 3 * KNOWN


def test_a_rule_that_fails_is_no_silent_pass() -> None:
    class Failing(Counting):
        def frame(self, frame: Frame) -> Frame:
            raise ValueError("a user's own rule")

    with pytest.raises(ValueError, match="own rule"):
        Envelopes(Failing()).of("POST", None, ((b"accept", b"a"),))
