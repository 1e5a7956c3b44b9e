"""Moments -> frames: envelopes, event fields, tokens; which question an answer belongs to."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.frame import Http, Sse, decode_frame, encode_frames
from shadowproxy.tape.recording.track import ASKED, Moment, Talk, Track, frame_of

ORIGIN = 1_790_000_000.0


def moment(data: bytes | None = None, **rest: Any) -> Moment:
    return Moment(**{"n": 1, "t": 1.25, "dir": "c2s", "leg": "both", "kind": "request", "data": data, **rest})


def test_times_are_counted_from_the_origin_to_a_microsecond() -> None:
    frame = frame_of(moment(t=0.12345678), ORIGIN)
    assert (frame.t, frame.wall) == (0.123457, 1_790_000_000.123457)


@pytest.mark.parametrize(("data", "token"), [
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":"t"}}}', b'"t"'),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken": 7 }}}', b"7"),
    (b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}', b'"t"'),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"progressToken":"t"}}', None),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":"progressToken"}', None),
    (b'{"jsonrpc":"2.0","id":1,"result":{"progressToken":"t"}}', None),
    (None, None),
])  # fmt: skip
def test_progress_tokens(data: bytes | None, token: bytes | None) -> None:
    found = frame_of(moment(data), ORIGIN).token
    assert (found and bytes(found)) == token


def test_the_envelope_keeps_the_fields_that_matter() -> None:
    headers = [(b"mcp-method", b"x"), (b"x-other", b"y"), (b"mcp-param-city", b"=?base64?UsO2?="), (b"user-agent", b"\xe4"), (b"authorization", b"Bearer t")]
    assert frame_of(moment(verb="POST", headers=headers), ORIGIN).http == Http(
        "POST", None, (("mcp-method", "x"), ("mcp-param-city", "=?base64?UsO2?="), ("user-agent", "ä"), ("authorization", "Bearer t")))  # fmt: skip
    assert frame_of(moment(status=202), ORIGIN).http == Http(None, 202)
    assert frame_of(moment(), ORIGIN).http is None


def test_event_fields() -> None:
    assert frame_of(moment(b"{}", event_id=b"7", retry=5), ORIGIN).sse == Sse("7", None, 5)
    assert frame_of(moment(b"{}", event_id=b""), ORIGIN).sse == Sse("")  # which forgets the last one
    assert frame_of(moment(b"{}"), ORIGIN).sse is None
    bare = frame_of(moment(kind="event", event_id=b"\xff", event=b"", text="data"), ORIGIN)
    assert (bare.sse, bare.text) == (Sse("�", None, None, "data"), None)


@given(st.text(st.characters()), st.binary(), st.binary())
def test_whatever_was_seen_can_be_written_and_read(text: str, value: bytes, id: bytes) -> None:
    frame = frame_of(moment(b'{"a":\r\n1}', text=text, headers=[(b"user-agent", value)], event_id=id), ORIGIN)
    line = encode_frames([frame])
    assert line.count(b"\n") == 1
    assert encode_frames([decode_frame(line)]) == line
    assert bytes(frame.message or b"") == b'{"a":  1}'


def test_answers_belong_to_questions_of_their_leg_and_are_given_once() -> None:
    talk = Talk(Track("s1"), "s1")
    talk.ask("server", b"1", 5)
    talk.ask("client", b"1", 6)
    assert [talk.answer("client", b"1"), talk.answer("client", b"1"), talk.answer("server", b"1"), talk.answer("both", b"1")] == [6, None, 5, None]


def test_only_so_many_questions_are_remembered() -> None:
    talk = Talk(Track(""), None)
    for number in range(ASKED + 1):
        talk.ask("both", b"%d" % number, number)
    assert len(talk.asked) == ASKED
    assert (talk.answer("both", b"0"), talk.answer("both", b"%d" % ASKED)) == (None, ASKED)
