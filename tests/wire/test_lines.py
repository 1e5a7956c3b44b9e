"""Lines of stdio: any cut of the bytes, and lines too long that cost the others nothing."""
from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadowproxy.wire.lines import HEAD, HEADS, LineParser

inputs = st.lists(st.sampled_from([b"\n", b"\n", b"\r", b"\r\n", b" ", b"{}", b'{"id":1}', b"\x00\xff", b"xxxxxxxx"]), max_size=20).map(b"".join)
places = st.lists(st.integers(min_value=0), max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(at)]


def run(chunks: list[bytes], limit: int) -> tuple[list[bytes], bytes, int, list[bytes]]:
    parser = LineParser(limit)
    lines = [line for chunk in chunks for line in parser.feed(chunk)]
    return lines, parser.flush(), parser.too_long, list(parser.heads)


@pytest.mark.parametrize(("data", "lines", "rest"), [
    (b'{"id":1}\n{"id":2}\n', [b'{"id":1}', b'{"id":2}'], b""),
    (b"{}\r\n{}\r\r\n", [b"{}", b"{}\r"], b""),       # one "\r" belongs to the end, no more
    (b"\n\r\n  \t\n\n{}", [], b"{}"),                  # blank lines are nothing
    (b"a\rb\n", [b"a\rb"], b""),                       # only "\n" ends a line
    ("\u2028\u0085\n".encode(), ["\u2028\u0085".encode()], b""),
    (b"a\r", [], b"a"),
    (b"a\n \r", [b"a"], b""),
    (b"", [], b""),
])
def test_exact_cases(data: bytes, lines: list[bytes], rest: bytes) -> None:
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        assert run(chunks, 100) == (lines, rest, 0, [])


@given(inputs, places, st.integers(min_value=0, max_value=12))
@example(b"xxxxxxxx\n{}\n", [3], 4)
@example(b"{}\r\n", [3], 3)
def test_any_cut_gives_the_same(data: bytes, places: list[int], limit: int) -> None:
    assert run(cut(data, places), limit) == run([data], limit)


@given(inputs, places, st.integers(min_value=0, max_value=12))
def test_what_is_kept_and_what_is_discarded(data: bytes, places: list[int], limit: int) -> None:
    lines, rest, too_long, heads = run(cut(data, places), limit)
    *ended, last = data.split(b"\n")
    fitting = [line.removesuffix(b"\r") for line in ended if len(line) <= limit]
    assert lines == [line for line in fitting if line.strip()]
    assert too_long == sum(len(line) > limit for line in (*ended, last))
    assert heads == [line[:limit] for line in (*ended, last) if len(line) > limit][-HEADS:]
    assert rest == (last.removesuffix(b"\r") if len(last) <= limit and last.strip() else b"")


def test_a_line_too_long_is_known_at_once_and_the_rest_goes_on() -> None:
    parser = LineParser(1000)
    assert parser.feed(b'{}\n{"jsonrpc":"2.0","id":7,' + b"x" * 1000) == [b"{}"]
    assert parser.too_long == 1
    head = parser.heads.popleft()
    assert len(head) == HEAD
    assert head.startswith(b'{"jsonrpc":"2.0","id":7,')
    for _ in range(100):
        assert parser.feed(b"x" * 1000) == []
    assert parser.feed(b'xx\n{"id":8}\n') == [b'{"id":8}']
    assert (parser.too_long, len(parser.heads)) == (1, 0)


def test_heads_are_bounded() -> None:
    parser = LineParser(3)
    parser.feed(b"".join(b"%05d\n" % i for i in range(1000)))
    assert parser.too_long == 1000
    assert list(parser.heads) == [b"%03d" % (i // 100) for i in range(1000 - HEADS, 1000)]


def test_flush_starts_afresh() -> None:
    parser = LineParser(3)
    parser.feed(b"xxxx")
    assert parser.flush() == b""
    assert parser.feed(b"ab\n") == [b"ab"]
    assert parser.feed(b"c") == []
    assert parser.flush() == b"c"
    assert parser.flush() == b""


def test_byte_by_byte_is_linear() -> None:
    def seconds(size: int, limit: int) -> float:
        parser = LineParser(limit)
        start = time.process_time()
        for _ in range(size):
            parser.feed(b"x")
        return time.process_time() - start

    seconds(1 << 14, 1 << 30)
    for limit in (1 << 30, 1000):
        assert seconds(1 << 19, limit) < 12 * seconds(1 << 16, limit) + 0.1  # 8 when linear, 64 when quadratic
