"""The filter language: precedence against a naive evaluator, and errors that point at their column."""
from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapes import request

from shadowproxy.tape.viewing.filters import MAX_DEPTH, MAX_LENGTH, FilterError, compile_filter
from shadowproxy.tape.viewing.rows import Row

Tree: TypeAlias = "str | tuple[str, ...] | tuple[str, list[Tree]]"
ATOMS = {"tool:a": "a", 'tool:"a b"': "a b", "tool:?": "a", "n>3": "n", "err": "err", '"w)|&"': "word", "kind:request": "True"}

atoms = st.sampled_from(sorted(ATOMS))


def _written(parts: list[tuple[str, str]], joined: list[str], python: str, strength: int) -> tuple[str, str, int]:
    text = parts[0][0]
    for join, (part, _) in zip(joined, parts[1:], strict=False):
        text += join + part
    return text, f" {python} ".join(f"({naive})" for _, naive in parts), strength


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, str, int]:
    """A filter, the same as a Python expression in full brackets, and how tightly its outermost operator binds."""
    kind = draw(st.integers(0, 4)) if depth else 0
    if kind == 0:
        atom = draw(atoms)
        return atom, f"holds({atom!r})", 3
    if kind == 1:
        text, naive, strength = draw(expressions(depth - 1))
        return draw(st.sampled_from(["!", "! "])) + (text if strength == 3 and draw(st.booleans()) else f"({text})"), f"not ({naive})", 3
    if kind == 2:
        text, naive, _ = draw(expressions(depth - 1))
        return f"({text} )", naive, 3
    least, python, joins = (1, "or", [" | ", " |"]) if kind == 3 else (2, "and", [" & ", " &", " ", "  \n"])
    parts = draw(st.lists(expressions(depth - 1), min_size=2, max_size=3))
    written = [(text if strength > least else f"( {text})", naive) for text, naive, strength in parts]
    return _written(written, [draw(st.sampled_from(joins)) for _ in written[1:]], python, least)


rows = st.builds(
    lambda n, tool, error, word: Row(request(n, "x", "w)|&" if word else ""), "x", tool, error=error), st.integers(1, 6), st.sampled_from([None, "a", "b", "a b"]),
    st.sampled_from([None, "e"]), st.booleans(),
)  # fmt: skip


@given(expressions(), st.lists(rows, min_size=1, max_size=4))
def test_precedence_is_that_of_the_naive_evaluator(expression: tuple[str, str, int], sample: list[Row]) -> None:
    text, naive, _ = expression
    predicate = compile_filter(text)
    for row in sample:
        facts = {"a": row.tool == "a", "a b": row.tool == "a b", "n": row.frame.n > 3, "err": row.error is not None, "word": b"w)|&" in bytes(row.frame.message or b""), "True": True}
        facts_of_atom = {atom: facts[fact] for atom, fact in ATOMS.items()} | {"tool:?": row.tool in ("a", "b")}
        assert predicate(row) == eval(naive, {"holds": facts_of_atom.__getitem__})


@given(expressions(), st.data())
def test_a_broken_filter_is_told_at_its_column(expression: tuple[str, str, int], data: st.DataObject) -> None:
    """Whatever is put anywhere, the answer is a filter or an error that points into the text."""
    text = expression[0]
    place = data.draw(st.integers(0, len(text)))
    broken = text[:place] + data.draw(st.sampled_from(["&", "|", ")", "(", '"', "#", ":", ">", "dur>", "tool:", "\\", "é", "~"])) + text[place:]
    try:
        compile_filter(broken)
    except FilterError as error:
        shown, caret, what = str(error).splitlines()
        assert len(shown) == len(broken)
        assert caret.index("^") == error.column - 1 <= len(broken)
        assert what == f"column {error.column}: {error.what}"


@pytest.mark.parametrize(("text", "column", "words"), [
    ("method:tools/call & & err", 21, "expected a condition"), ("tool:a |", 9, "not the end"), ("(err", 5, "expected ), not the end"), ("err)", 4, "not ')'"), ("tool:", 6, "expected a value"),
    ("dur>", 5, "expected a number, as in 200ms"), ("dur>x", 5, "not 'x'"), ('err "x', 5, "never closed"), ("", 1, "there is nothing"), ("  ", 1, "there is nothing"), ("!", 2, "expected a condition"),
    ("tool:a tol:b", 8, "did you mean 'tool'?"), ("kind:response & kind:requst", 22, "did you mean 'request'?"), ("tool:a # b", 8, "not '#'"), ("n>3 size>2zb", 10, "size is told in"),
    ("err\n& &", 7, "not '&'"),
])  # fmt: skip
def test_errors_point_at_the_column(text: str, column: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    assert caught.value.column == column
    assert words in caught.value.what


def test_an_error_has_the_text_and_a_caret() -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter("tool:a\t& &")
    assert str(caught.value).splitlines()[:2] == ["tool:a & &", "         ^"]


@pytest.mark.parametrize("text", ["!" * (MAX_DEPTH + 1) + "err", "(" * (MAX_DEPTH + 1) + "err", "x" * (MAX_LENGTH + 1), "!(" * 5000])
def test_there_are_bounds(text: str) -> None:
    with pytest.raises(FilterError, match="at most"):
        compile_filter(text)


def test_within_the_bounds_all_is_well() -> None:
    row = Row(request(1, "x"))
    assert compile_filter("!(" * (MAX_DEPTH - 1) + "err" + ")" * (MAX_DEPTH - 1))(row) is True
    assert compile_filter(" | ".join(["err"] * 1000) + " | n=1")(row)
