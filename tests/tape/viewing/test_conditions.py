"""Conditions: what each means of a row, and what is said of one that means nothing."""
from __future__ import annotations

import pytest
from tapes import happening, request, response

from shadowproxy.tape.frame import Http, Sse
from shadowproxy.tape.viewing.conditions import NoSuchThing, size_of
from shadowproxy.tape.viewing.filters import compile_filter
from shadowproxy.tape.viewing.rows import Row
from shadowproxy.wire.jsonrpc import Raw

CALL = Row(request(3, "tools/call", {"name": "search", "arguments": {"q": 'say "hé"'}}, id="a7", session="s1", exchange=12, t=5.0, http=Http("POST")), "tools/call", "search", era="legacy")
ANSWER = Row(response(4, 3, id=7, result={"x": "Y" * 1000}, t=65.5, http=Http(None, 200)), "tools/call", "search", 0.25, "the tool failed")
READ = Row(request(5, "resources/read"), "resources/read", resource="file:///a b/c.txt")
PROMPT = Row(request(6, "prompts/get", leg="server"), "prompts/get", prompt="[p]")
REFUSAL = Row(happening(7, "refusal", text="Too Busy", error="overloaded", http=Http(None, 503)), error="overloaded")
EVENT = Row(happening(8, "event", sse=Sse(data="from stream")))
ALL = {"call": CALL, "answer": ANSWER, "read": READ, "prompt": PROMPT, "refusal": REFUSAL, "event": EVENT}


@pytest.mark.parametrize(("condition", "meant"), [
    ("method:tools/call", "call answer"), ("method:tools/*", "call answer"), ("method:*", "call answer read prompt"), ("method:TOOLS/CALL", ""), ("tool:s?arch", "call answer"),
    ("tool:[st]earch", "call answer"), ("prompt:[p]", ""), ('prompt:"[p]"', "prompt"), ('resource:"file:///a b/c.txt"', "read"), ("uri:file:*.txt", "read"), ('uri:"file:*"', ""),
    ("kind:re*", "call answer read prompt refusal"), ("kind:refusal", "refusal"), ("dir:c2s", "call read prompt"), ("leg:server", "prompt"), ("era:legacy", "call"), ("session:s1", "call"),
    ("exchange:12", "call"), ("exchange>=5", "call read prompt"), ("id:a7", "call"), ("id:7", "answer"), ("id:*7", "call answer"), ("err", "answer refusal"),
    ("dur>200ms", "answer"), ("dur>0.25s", ""), ("dur>=250000us", "answer"), ("dur = 250 ms", None), ("dur<1m", "answer"), ("size>1kb", "answer"), ("size>1KiB", "answer"), ("size<9", "refusal"),
    ("n>=7", "refusal event"), ("n==3", "call"), ("t>1m", "answer"), ("t<=5", "call read prompt refusal event"), ("status>=400", "refusal"), ("status=200", "answer"),
    ('"too busy"', "refusal"), ('"say \\"hé"', "call"), ('"SEARCH"', "call"), ('"stream"', "event"), ('text~"Y{1000}"', "answer"), ("text~^Too", "refusal"), ('text~"OVERLOADED"', ""),
])  # fmt: skip
def test_what_it_means(condition: str, meant: str | None) -> None:
    if meant is None:
        with pytest.raises(ValueError):
            compile_filter(condition)
        return
    predicate = compile_filter(condition)
    assert [name for name, row in ALL.items() if predicate(row)] == meant.split()


@pytest.mark.parametrize(("condition", "words"), [
    ("tol:x", "there is no 'tol' - did you mean 'tool'?"), ("length>3", "there is no 'length'"), ("eror", "did you mean 'err'?"), ("search", 'text is searched in quotes: "search"'),
    ("text:foo", 'text is searched by "foo"'), ("tool~x", "for tool write tool:…"), ("kind:requst", "did you mean 'request'?"), ("dir:up", "dir is one of c2s, s2c"),
    ("dur", "dur needs a comparison, as in dur>200ms"), ("tool", "tool needs a value, as in tool:…"),
    ("dur>200", "dur is told in us"), ("size>2ms", "as in 10kb"), ("n>2s", "n is told as a number"), ('text~"("', "no regular expression"),
])  # fmt: skip
def test_what_means_nothing_is_told(condition: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_filter(condition)
    assert words in str(caught.value)


def test_escapes_are_read_when_text_is_searched() -> None:
    assert compile_filter('"xyz"')(Row(happening(1, "event", message=Raw(b'{"a":["\\u0078yz"],"b":1}'))))
    assert not compile_filter('"xyz"')(Row(happening(1, "event", message=Raw(b'{"a":["\\u0078","yz"]}'))))


def test_sizes() -> None:
    assert size_of(happening(1, "gap")) == 0
    assert size_of(happening(1, "refusal", text="é")) == 2
    assert size_of(EVENT.frame) == len("from stream")


def test_whose_fault_it_is() -> None:
    assert not NoSuchThing("x").of_value
