"""JSON as text: tokens, where documents end, and places in strings as places in their literals."""
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import around, harmless, spelled

from shadowproxy.tape.redaction.json_literal import (
    NESTING,
    NotJson,
    decoded,
    documents,
    element,
    elements,
    in_prose,
    members,
    places,
    places_in_prose,
    skim,
)

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\n\U0001f600'), max_size=12)


@given(texts.flatmap(lambda text: st.tuples(st.just(text), spelled(text))), st.data())
def test_a_part_of_a_string_is_that_part_of_its_literal(case: tuple[str, str], data: st.DataObject) -> None:
    text, literal = case
    assert decoded(literal) == text
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    a, b = places(literal, [start, end])
    assert [json.loads(f'"{part}"') for part in (literal[1:a], literal[a:b], literal[b:-1])] == [text[:start], text[start:end], text[end:]]


@given(st.lists(st.sampled_from(["a" * 98, '\\"', "\\ud83d\\ude00", "\\ud800", "\\u0041", "☃"]), min_size=100, max_size=300), st.data())
def test_places_far_behind(parts: list[str], data: st.DataObject) -> None:
    """As one by one from the beginning, though long literals are passed chunk by chunk."""
    literal = f'"{"".join(parts)}"'
    text = decoded(literal)
    wanted = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=3)))
    assert [decoded(f'{literal[:place]}"') for place in places(literal, wanted)] == [text[:place] for place in wanted]


def test_lone_surrogates_are_characters() -> None:
    literal = '"\\ud800\\ud83d\\ude00\\udc00x"'
    assert decoded(literal) == "\ud800\U0001f600\udc00x"
    assert places(literal, [1, 2, 3, 4]) == [7, 19, 25, 26]


@given(harmless.flatmap(around), st.sampled_from(["", " ", ",", "]", "x"]))
def test_a_document_ends_where_json_says(document: str, behind: str) -> None:
    _, end = json.JSONDecoder(strict=False).raw_decode(document)
    if document[:1] in '{["':
        assert skim(document + behind, 0) == end


@pytest.mark.parametrize("text", ["", "{", "[1", "[}", '{"a"', '{"a":1]', '["a":1]', '"a":', "nil", '"\\x"', '"\\u12"', '"open', "]", "'a'"])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(NotJson):
        skim(text, 0)


@given(st.lists(harmless, min_size=1, max_size=4), st.integers(0, 4))
def test_what_is_passed_by_is_whole_values(values: list[str], stop: int) -> None:
    """Up to a place that must not be passed, elements and members end where values end."""
    array = "[" + ",".join(values) + "]"
    ends, place = [1], 1
    for value in values:
        ends.append(place + len(value))
        place += len(value) + 1
    limit = ends[min(stop, len(values))]
    place = 1
    while (match := element(array, place, limit)) is not None:
        place = match.end()
        assert place in ends
    text = "{" + ",".join(f'"k{number}":{value}' for number, value in enumerate(values)) + "}"
    whole = elements(array, 1)
    assert whole is not None
    assert whole.end() == len(array) - 1
    passed = members(text, 1, len(text) - 1)
    assert passed is not None
    json.loads("{" + passed[0] + "}")


@pytest.mark.parametrize(("text", "found"), [
    ("", []), ("no [see note] {x}", []), ('{"a":1}', ['{"a":1}']), ('x {"a":[1]} y [2,{}] z', ['{"a":[1]}', "[2,{}]"]), ('"a"', ['"a"']), ('x "a"', []), ('"a" x', []),
    ('x\n "a"\t\ny', ['"a"']), ('data:"a"\ndata: "b"\n', ['"a"', '"b"']), ('{"a":1}"b"\n"c"', ['{"a":1}', '"c"']), ('[[1,]"\n"a"', ['[1,]', '"a"']), ('{"open [1] {}', ["[1]", "{}"]),
    ('"open\n"a"', ['"a"']), ("[" * (NESTING + 5) + "]" * (NESTING + 5) + "]", ["[" * (NESTING + 5) + "]" * (NESTING + 5)]),
])  # fmt: skip
def test_documents_in_a_text(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in documents(text)] == found


@given(st.text("u0073k/\\a☃", max_size=20), st.data())
def test_escapes_in_prose(text: str, data: st.DataObject) -> None:
    plain = in_prose(text)
    start = data.draw(st.integers(0, len(plain)))
    a, b = places_in_prose(text, [start, len(plain)])
    assert b == len(text)
    assert in_prose(text[:a]) + in_prose(text[a:]) == plain
    assert len(in_prose(text[:a])) == start
