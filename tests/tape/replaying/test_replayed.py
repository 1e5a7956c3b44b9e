"""Which answer is next: the orders, repeats, redacted requests; and that any order of concurrent requests finds its answers."""
from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import Caller, asked, handshake, replaying, tool
from tapes import notification, write_tape

from shadowproxy.config import Replay
from shadowproxy.errors import TapeMiss
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.match import Matching, Wanted
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.columns import Columns
from shadowproxy.tape.replaying.index import read_index
from shadowproxy.tape.replaying.replayed import Replayed

TOKEN = "[REDACTED:api-key:0123456789abcdef]"


async def results(folder: Path, frames: list[Frame], questions: list[tuple[str, Any]], **replay: Any) -> list[Any]:
    """What each question brought; None for a miss."""
    found: list[Any] = []
    async with replaying(folder, [*handshake(), *frames], **replay) as tape:
        client = Caller(tape)
        await client.greet()
        for method, params in questions:
            try:
                found.append(await client.result(method, params))
            except TapeMiss:
                found.append(None)
    return found


Question = tuple[str, dict[str, str]]
A: Question = ("tools/call", {"name": "a"})
B: Question = ("tools/call", {"name": "b"})
LIST: Question = ("tools/list", {})
PING: Question = ("ping", {})
TAPE = [*tool(4, A[1], {"a": 1}), *asked(6, "tools/list", {}, {"tools": [1]}), *tool(8, B[1], {"b": 1}), *asked(10, "ping", None, {}), *tool(12, A[1], {"a": 2})]


@pytest.mark.parametrize(("order", "questions", "expected"), [
    ("any", [B, A, LIST, A], [{"b": 1}, {"a": 1}, {"tools": [1]}, {"a": 2}]),
    ("per-method", [LIST, A, B, A], [{"tools": [1]}, {"a": 1}, {"b": 1}, {"a": 2}]),
    ("per-method", [B, A, A, B], [None, {"a": 1}, None, {"b": 1}]),
    ("strict", [A, LIST, B, A], [{"a": 1}, {"tools": [1]}, {"b": 1}, {"a": 2}]),
    ("strict", [LIST, A, B, LIST, B, A], [None, {"a": 1}, None, {"tools": [1]}, {"b": 1}, {"a": 2}]),
    ("strict", [PING, A, PING, PING, LIST], [{}, {"a": 1}, {}, {}, {"tools": [1]}]),
])  # fmt: skip
async def test_orders(tmp_path: Path, order: str, questions: list[Any], expected: list[Any]) -> None:
    assert await results(tmp_path, TAPE, questions, order=order) == expected


@pytest.mark.parametrize(("repeats", "expected"), [
    ("safe", [{"tools": [1]}, {"tools": [1]}, {"b": 1}, None]), ("all", [{"tools": [1]}, {"tools": [1]}, {"b": 1}, {"b": 1}]),
    ("none", [{"tools": [1]}, None, {"b": 1}, None]),
])  # fmt: skip
@pytest.mark.parametrize("order", ["any", "per-method"])
async def test_repeats(tmp_path: Path, order: str, repeats: str, expected: list[Any]) -> None:
    frames = [*asked(4, "tools/list", {}, {"tools": [1]}), *tool(6, B[1], {"b": 1})]
    assert await results(tmp_path, frames, [LIST, LIST, B, B], order=order, repeats=repeats) == expected


async def test_the_last_answer_is_the_one_that_is_repeated(tmp_path: Path) -> None:
    frames = [*asked(4, "tools/list", {}, {"tools": [1]}), *asked(6, "tools/list", {}, {"tools": [1, 2]})]
    assert await results(tmp_path, frames, [LIST] * 4) == [{"tools": [1]}] + [{"tools": [1, 2]}] * 3


async def test_another_client_is_welcomed_as_the_recorded_one_was_and_may_begin_again(tmp_path: Path) -> None:
    for order in ("any", "per-method", "strict"):
        async with replaying(tmp_path, handshake(), order=order) as tape:
            client = Caller(tape)
            for _ in range(2):
                assert "result" in await client.greet(protocolVersion="1999-01-01")


async def test_redacted_requests_are_found_the_exact_ones_first(tmp_path: Path) -> None:
    frames = [*tool(4, {"key": TOKEN}, {"n": 1}), *tool(6, {"key": "plain"}, {"n": 2}), *tool(8, {"key": TOKEN}, {"n": 3})]
    questions = [("tools/call", {"key": key}) for key in ("plain", "sk-1", "sk-2", "sk-3")]
    assert await results(tmp_path, frames, questions) == [{"n": 2}, {"n": 1}, {"n": 3}, None]
    assert await results(tmp_path, frames, [("tools/call", {"key": key}) for key in ("sk-1", "plain", "x")], order="strict") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert await results(tmp_path, frames, [("tools/call", {"key": TOKEN})] * 3) == [{"n": 1}, {"n": 3}, None], "who asks with the token itself"


# ---------------------------------------------------- properties
NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=12)


def session(folder: Path, frames: list[Frame], **replay: Any) -> tuple[Columns, Replayed, Matching]:
    matching = Matching()
    with Reading(write_tape(folder / "tape.jsonl", frames)) as reading:
        columns = read_index(reading, matching)

    def recorded(request: int) -> Wanted:
        raise AssertionError("nothing here is redacted")

    return columns, Replayed(columns, columns.legacy[0], Replay(**replay), matching, bytearray(columns.requests), recorded), matching


def frames_of(names: list[str]) -> list[Frame]:
    return [frame for at, name in enumerate(names) for frame in tool(2 * at + 1, {"name": name}, {})]


def wanted(name: str) -> Wanted:
    return Matching().recorded("tools/call", b'{"params":{"name":"%b"}}' % name.encode())


@given(NAMES, st.randoms(use_true_random=False))
def test_any_order_finds_every_answer_once_and_equal_requests_in_their_order(names: list[str], random: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, replayed, _ = session(Path(folder), frames_of(names))
        asked_for = random.sample(names, len(names))
        found = [replayed.find(wanted(name)) for name in asked_for]
        assert sorted(one for one in found if one is not None) == list(range(len(names)))
        for name in set(names):
            mine = [one for one, asked_name in zip(found, asked_for, strict=True) if asked_name == name]
            assert mine == [number for number, one in enumerate(names) if one == name]
        assert all(replayed.find(wanted(name)) is None for name in names)


@given(NAMES, NAMES, st.sampled_from(["any", "per-method", "strict"]), st.sampled_from(["safe", "all", "none"]))
def test_matching_is_deterministic_and_never_gives_a_wrong_answer(names: list[str], asked_for: list[str], order: str, repeats: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for _ in range(2):
            _, replayed, _ = session(Path(folder), frames_of(names), order=order, repeats=repeats)
            runs.append([replayed.find(wanted(name)) for name in asked_for])
        assert runs[0] == runs[1]
        given_out = [(name, one) for name, one in zip(asked_for, runs[0], strict=True) if one is not None]
        assert all(names[one] == name for name, one in given_out)
        if repeats != "all":
            assert max(Counter(one for _, one in given_out).values(), default=0) <= 1


@settings(max_examples=25, deadline=None)
@given(NAMES, st.randoms(use_true_random=False))
def test_concurrent_requests_each_hear_their_own(names: list[str], random: Any) -> None:
    """Through the seam, all at once, with pauses of their own: by its name every caller knows its answer."""

    async def main() -> None:
        frames = [*handshake()]
        for at, name in enumerate(names):
            frames += tool(4 + 2 * at, {"name": name}, {"of": name, "at": at})
        heard: list[tuple[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            async with replaying(Path(folder), frames, timing="recorded") as tape, trio.open_nursery() as nursery:
                client = Caller(tape)
                await client.greet()

                async def ask(name: str, pause: float) -> None:
                    await trio.sleep(pause)
                    heard.append((name, await client.result("tools/call", {"name": name})))

                for name in names:
                    nursery.start_soon(ask, name, random.random())
        assert all(result["of"] == name for name, result in heard)
        assert sorted(result["at"] for _, result in heard) == list(range(len(names)))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_notification_counts_for_the_next_of_its_method(tmp_path: Path) -> None:
    frames = [*tool(1, {}, {}), *(notification(n, "notifications/roots/list_changed", dir="c2s", session="s1") for n in (3, 4))]
    columns, replayed, _ = session(tmp_path, frames)
    columns.awaited[3] = columns.awaited[4] = 1
    for expected in ([3], [3, 4], [3, 4]):
        replayed.note("notifications/roots/list_changed")
        replayed.note("notifications/unknown")
        assert list(replayed.seen) == expected
