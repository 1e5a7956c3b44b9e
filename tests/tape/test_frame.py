"""The format: what is written is read as it was, what is absent is not written, what is none says so."""
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.frame import VERSION, Frame, Header, Http, Sse, Unreadable, decode_frame, decode_header, encode_frames, encode_header
from shadowproxy.wire.jsonrpc import Raw

MESSAGE = b'{"jsonrpc":"2.0",  "id":1.0e2,"result":{"a":"\\u00e4","a":12345678901234567890123}}'
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
                      lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5)  # fmt: skip
MESSAGES = st.dictionaries(TEXT, VALUES).map(lambda value: Raw(json.dumps(value).encode()))
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "wall": st.floats(0, 2e9), "leg": st.sampled_from(["both", "client", "server"]), "session": TEXT, "exchange": st.integers(1), "stream": TEXT, "method": TEXT,
    "id": st.just(Raw(b'"7"')), "re": st.integers(1), "token": st.just(Raw(b"7")), "message": MESSAGES,
    "http": st.builds(Http, st.none() | TEXT, st.none() | st.integers(100, 599), st.lists(st.tuples(TEXT, TEXT)).map(tuple)),
    "sse": st.builds(Sse, st.none() | TEXT, st.none() | TEXT, st.none() | st.integers(0), st.none() | TEXT), "error": TEXT, "text": TEXT, "lost": st.integers(1),
    "redacted": st.lists(TEXT).map(tuple),
}  # fmt: skip


def made(members: dict[str, Any]) -> Frame:
    return Frame(**members)


REQUIRED: dict[str, st.SearchStrategy[Any]] = {"n": st.integers(1), "t": st.floats(0, 1e6), "dir": st.sampled_from(["c2s", "s2c"]),
                                               "kind": st.sampled_from(["request", "gap", "about"])}  # fmt: skip
FRAMES = st.fixed_dictionaries(REQUIRED, optional=OPTIONAL).map(made)


@given(st.lists(FRAMES))
def test_frames_are_read_as_they_were_written(frames: list[Frame]) -> None:
    lines = encode_frames(frames).split(b"\n")
    assert lines.pop() == b""
    read = [decode_frame(line) for line in lines]
    assert encode_frames(read) == encode_frames(frames)
    for before, after in zip(frames, read, strict=True):
        assert (before.message and bytes(before.message)) == (after.message and bytes(after.message))
        assert (before.http, before.sse, before.redacted, before.lost) == (after.http, after.sse, after.redacted, after.lost)


def test_a_message_stays_byte_for_byte_and_is_json_in_the_line() -> None:
    line = encode_frames([Frame(n=1, t=0.5, dir="s2c", kind="response", message=Raw(MESSAGE))])
    assert line == b'{"n":1,"t":0.5,"dir":"s2c","kind":"response","message":' + MESSAGE + b"}\n"
    assert bytes(decode_frame(line).message or b"") == MESSAGE
    assert json.loads(line)["message"]["result"]["a"] == 12345678901234567890123


def test_a_header_is_read_as_it_was_written() -> None:
    header = Header(tool="shadowproxy 1", python="3.11", origin=1.5, upstream="https://x", era="modern", session="s1", server=Raw(b'{"name":"x"}'), redaction="default",
                    key="k")  # fmt: skip
    assert encode_header(decode_header(encode_header(header))) == encode_header(header)
    assert encode_header(Header(tool="x", origin=0.0)) == b'{"tape":%d,"tool":"x","origin":0.0}\n' % VERSION  # the version first, and always


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"[]", b"7", b"null", b"{}", b'{"n":1,"t":0,"dir":"up","kind":"request"}', b'{"n":1,"t":0,"dir":"c2s","kind":"odd"}',
                                  b'{"n":"1","t":0,"dir":"c2s","kind":"gap"}', b'{"n":1,"t":0,"dir":"c2s","kind":"gap","text":"\xff"}', b"\xff", b"[" * 100_000,
                                  b'{"n":1,"t":0,"dir":"c2s","kind":"gap","message":{"a":"\xff"}}'])  # fmt: skip
def test_what_is_no_frame(line: bytes) -> None:
    with pytest.raises(Unreadable, match="not a frame"):
        decode_frame(line)


@pytest.mark.parametrize("line", [b"", b"{", b"{}", b'{"tape":1}', b'{"tape":"1","tool":"x","origin":0}', b"\xff", b"[" * 100_000])
def test_what_is_no_header(line: bytes) -> None:
    with pytest.raises(Unreadable, match="not the header"):
        decode_header(line)


def test_a_header_of_another_version() -> None:
    with pytest.raises(Unreadable, match="a tape of version 99; this shadowproxy reads up to"):
        decode_header(b'{"tape":99,"tool":"x","origin":0}')


def test_members_of_later_versions_are_passed_over() -> None:
    assert decode_frame(b'{"n":1,"t":0,"dir":"c2s","kind":"gap","tomorrow":[1]}').n == 1
    assert decode_header(b'{"tape":1,"tool":"x","origin":0,"tomorrow":1}').tool == "x"


def test_errors_are_known() -> None:
    def frame(kind: str, message: bytes | None = None) -> Frame:
        return decode_frame(encode_frames([Frame(n=1, t=0.0, dir="s2c", kind=kind, message=None if message is None else Raw(message))]))  # type: ignore[arg-type]

    assert frame("refusal").is_error
    assert frame("response", b'{"error":{}}').is_error
    assert not frame("response", b'{"result":{"error":1}}').is_error
    assert not frame("request", b'{"error":1}').is_error
    assert frame("response", b'{"result":{"a":1.5}}').value() == {"result": {"a": 1.5}}
    assert (frame("gap").value(), frame("gap").members()) == (None, {})
