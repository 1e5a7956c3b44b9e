"""Messages in their order -> frames with their links: ids are each side's own, tokens lead progress to its request, memory is bounded."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.exchanging import linking
from shadowproxy.tape.exchanging.linking import Linker
from shadowproxy.tape.frame import Direction
from shadowproxy.wire.jsonrpc import BadMessage


def asking(id: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":%s,"method":"m"}' % id.encode()


def answering(id: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":%s,"result":{}}' % id.encode()


IDS = st.sampled_from(["1", '"1"', "2", "null"])
STEPS = st.lists(st.tuples(st.sampled_from(["c2s", "s2c"]), st.booleans(), IDS))


@given(STEPS)
def test_a_response_goes_to_the_newest_open_request_with_its_id_from_the_other_side(steps: list[tuple[Direction, bool, str]]) -> None:
    linker, open_requests = Linker(0.0), dict[tuple[str, str], int]()
    for n, (dir, asks, id) in enumerate(steps, 1):
        frame = linker.message(0.0, dir, asking(id) if asks else answering(id))
        assert frame.n == n
        if asks:
            open_requests[dir, id] = n
        else:
            assert frame.re == open_requests.pop(("s2c" if dir == "c2s" else "c2s", id), None)


def test_peers_have_ids_of_their_own() -> None:
    linker = Linker(0.0)
    first, second = linker.message(0, "c2s", asking("1"), peer="a"), linker.message(0, "c2s", asking("1"), peer="b")
    assert linker.message(0, "s2c", answering("1"), peer="a").re == first.n
    assert linker.message(0, "s2c", answering("1"), peer="b").re == second.n


def test_what_is_never_answered_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "OPEN", 3)
    linker = Linker(0.0)
    for id in "12345":
        linker.message(0, "c2s", asking(id))
    assert [linker.message(0, "s2c", answering(id)).re for id in "12345"] == [None, None, 3, 4, 5]


def test_numbers_leave_room_for_what_is_missing() -> None:
    linker = Linker(0.0)
    numbers = [linker.message(0, "c2s", asking("1")).n, linker.frame(0, "s2c", "gap", lost=5).n, linker.message(0, "c2s", asking("2")).n]
    assert numbers == [1, 2, 7]


def test_line_ends_in_a_message_become_blanks() -> None:
    frame = Linker(0.0).message(0, "c2s", b'{"jsonrpc":"2.0",\n"id":1,\r\n"method":"m"}')
    assert frame.message is not None
    assert bytes(frame.message) == b'{"jsonrpc":"2.0", "id":1,  "method":"m"}'


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(BadMessage):
        Linker(0.0).message(0, "c2s", b"hello")
