"""Rows: what is known of a frame's exchange by then."""
from __future__ import annotations

import pytest
from tapes import happening, notification, raw, request, response

from shadowproxy.tape.frame import Frame, Http
from shadowproxy.tape.viewing import rows as module
from shadowproxy.tape.viewing.rows import Row, error_of, rows


def told(row: Row) -> tuple[str | None, str | None, float | None, str | None]:
    return row.method, row.tool, None if row.duration is None else round(row.duration, 6), row.error


def test_an_exchange() -> None:
    frames = [
        request(1, "tools/call", {"name": "search", "arguments": {}}, t=1.0),
        notification(2, "notifications/progress", {"progressToken": 1, "progress": 1}, exchange=1, t=1.25),
        request(3, "sampling/createMessage", {}, dir="s2c", exchange=1, id="q", t=1.5),
        response(4, 3, id="q", dir="c2s", exchange=1, t=1.75),
        response(5, 1, result={"content": []}, t=2.0),
    ]
    assert [told(row) for row in rows(frames)] == [
        ("tools/call", "search", None, None), ("notifications/progress", "search", None, None), ("sampling/createMessage", "search", None, None),
        ("sampling/createMessage", "search", 0.25, None), ("tools/call", "search", 1.0, None),
    ]  # fmt: skip
    assert [row.frame for row in rows(frames)] == frames


@pytest.mark.parametrize(("method", "params", "subject"), [
    ("tools/call", {"name": "t"}, ("t", None, None)), ("prompts/get", {"name": "p"}, (None, "p", None)), ("resources/read", {"uri": "file:///x"}, (None, None, "file:///x")),
    ("tools/call", {"name": 5}, (None, None, None)), ("tools/call", [], (None, None, None)), ("tools/list", {"name": "t"}, (None, None, None)),
])  # fmt: skip
def test_what_an_exchange_is_about(method: str, params: object, subject: tuple[str | None, ...]) -> None:
    for row in rows([request(1, method, params), response(2, 1)]):
        assert (row.tool, row.prompt, row.resource) == subject


@pytest.mark.parametrize(("frame", "error"), [
    (response(2, 1, result={"content": [], "isError": True}), "the tool failed"), (response(2, 1, result={"content": [], "isError": False}), None),
    (response(2, 1, result={"structuredContent": {"isError": True, "error": 1}}), None), (response(2, 1, error={"code": -32602, "message": "no"}), "no"),
    (response(2, 1, error={"code": 1}), "an error without a message"), (response(2, 1, error=7), "an error without a message"),
    (happening(2, "refusal", exchange=1, error="overloaded", text="busy"), "overloaded"), (happening(2, "refusal", exchange=1, text="busy"), "busy"),
    (happening(2, "refusal", exchange=1, http=Http(None, 503)), "HTTP 503"), (happening(2, "refusal", exchange=1), "refused"),
    (happening(2, "cancelled", dir="c2s", exchange=1), None), (notification(2, "x", {"error": 1}), None),
])  # fmt: skip
def test_what_went_wrong(frame: Frame, error: str | None) -> None:
    assert error_of(frame) == error
    assert [row.error for row in rows([request(1, "tools/call"), frame])] == [None, error]


@pytest.mark.parametrize("kind", ["refusal", "cancelled", "close"])
def test_what_comes_in_place_of_a_response_has_a_duration(kind: object) -> None:
    frames = [request(1, "tools/list", t=1.0), happening(2, kind, exchange=1, t=1.5)]  # type: ignore[arg-type]  # the kinds above are three of its values
    assert [told(row)[:3] for row in rows(frames)] == [("tools/list", None, None), ("tools/list", None, 0.5)]


def test_a_stream_is_closed_after_a_while() -> None:
    frames = [happening(1, "open", dir="c2s", exchange=4, stream="g4", t=1.0), notification(2, "notifications/x", stream="g4"), happening(3, "close", exchange=4, stream="g4", t=9.0)]
    assert [row.duration for row in rows(frames)] == [None, None, 8.0]


def test_the_era_is_the_headers_until_the_session_says_better() -> None:
    frames = [request(1, "a", session="s1"), happening(2, "about", session="s1", message=response(0, 0).message), request(3, "b", session="s1"),
              happening(4, "about", session="s1", message=notification(0, "x").message)]  # fmt: skip
    assert [row.era for row in rows(frames, "modern")] == ["modern"] * 4
    frames[1] = happening(2, "about", session="s1", message=raw({"era": "legacy"}))
    assert [row.era for row in rows([*frames, request(5, "c", session="s2")])] == [None, "legacy", "legacy", "legacy", None]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests past the bound the oldest is forgotten: its response is a row all the same."""
    monkeypatch.setattr(module, "OPEN", 2)
    monkeypatch.setattr(module, "EXCHANGES", 2)
    frames = [request(n, "tools/call", {"name": "x"}, t=0.0) for n in (1, 2, 3)] + [response(3 + n, n, t=1.0) for n in (1, 2, 3)]
    assert [told(row)[:3] for row in rows(frames)][3:] == [(None, None, None), ("tools/call", "x", 1.0), ("tools/call", "x", 1.0)]


def test_a_row_comes_at_once() -> None:
    """A tape that is still written can be followed: no frame is asked for before the row of the one before was given."""
    asked: list[int] = []

    def frames() -> object:
        for n in (1, 2):
            asked.append(n)
            yield request(n, "x")

    stream = rows(frames())  # type: ignore[arg-type]  # an iterator of frames
    assert next(stream).frame.n == 1
    assert asked == [1]
