"""JSON as text: tokens, where documents end, and places in strings as places in their literals."""
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import around, harmless, spelled

from shadowproxy.tape.redaction.json_literal import NotJson, decoded, element, in_prose, members, places, places_in_prose, skim

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\n\U0001f600'), max_size=12)


@given(texts.flatmap(lambda text: st.tuples(st.just(text), spelled(text))), st.data())
def test_a_part_of_a_string_is_that_part_of_its_literal(case: tuple[str, str], data: st.DataObject) -> None:
    text, literal = case
    assert decoded(literal) == text
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    a, b = places(literal, [start, end])
    assert [json.loads(f'"{part}"') for part in (literal[1:a], literal[a:b], literal[b:-1])] == [text[:start], text[start:end], text[end:]]


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
    passed = members(text, 1, len(text) - 1)
    assert passed is not None
    json.loads("{" + passed[0] + "}")


@given(st.text("u0073k/\\a☃", max_size=20), st.data())
def test_escapes_in_prose(text: str, data: st.DataObject) -> None:
    plain = in_prose(text)
    start = data.draw(st.integers(0, len(plain)))
    a, b = places_in_prose(text, [start, len(plain)])
    assert b == len(text)
    assert in_prose(text[:a]) + in_prose(text[a:]) == plain
    assert len(in_prose(text[:a])) == start
