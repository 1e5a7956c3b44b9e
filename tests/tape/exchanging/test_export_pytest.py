"""A tape as a test: it runs, passes against a server that answers as recorded, and fails against one that does not."""
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conversations import conversation
from tapes import request, response

from shadowproxy.tape.exchanging import export_pytest
from shadowproxy.tape.exchanging.export_pytest import scenario
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.viewing.rows import rows


class Server:
    """Stands where the fixture `replaying_server` does: it answers from the tape, in order."""

    def __init__(self, frames: list[Frame]) -> None:
        asked = {frame.n: frame.value() for frame in frames if frame.kind == "request" and frame.dir == "c2s"}
        self.expected: list[tuple[Any, Any]] = [(asked[frame.re], frame.value()) for frame in frames if frame.kind == "response" and frame.re in asked]
        self.told: list[object] = []

    async def request(self, method: str, params: object = None) -> Any:
        asked, answer = self.expected.pop(0)
        assert (method, params) == (asked["method"], asked.get("params"))
        return answer

    async def notify(self, method: str, params: object = None) -> None:
        self.told.append(method)


async def play(frames: list[Frame], server: Server, name: str = "talk.jsonl") -> str:
    """Run the exported test against it; give its text."""
    text = b"".join(scenario(Path(name), rows(frames))).decode()
    names: dict[str, object] = {}
    marks: list[str] = []

    def tape(mark: str) -> Callable[[object], object]:
        marks.append(mark)
        return lambda test: test

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pytest", SimpleNamespace(mark=SimpleNamespace(tape=tape)))
        exec(compile(text, "test_talk.py", "exec"), names)
    (test,) = [value for key, value in names.items() if key.startswith("test_")]
    assert marks == [name.removesuffix(".jsonl")]
    await test(server)  # type: ignore[operator]  # an async function
    return text


async def test_every_answered_request_is_a_step() -> None:
    server = Server(conversation())
    await play(conversation(), server)
    assert server.expected == []
    assert server.told == ["notifications/initialized"]


async def test_another_answer_fails() -> None:
    server = Server(conversation())
    server.expected[2][1]["result"]["content"][0]["text"] = "grüß dich"
    with pytest.raises(AssertionError):
        await play(conversation(), server)


@pytest.mark.parametrize("name", ["talk.jsonl", "a b-c.20261121.jsonl", "class.jsonl", "'\"\"\"\\.jsonl", "Žilina.jsonl", "1.jsonl"])
async def test_any_name_of_a_tape(name: str) -> None:
    await play(conversation(), Server(conversation()), name)


async def test_whatever_was_said_is_python() -> None:
    odd = {"quote": "\"'''\\", "line": "a\nb\u2028c", "long": "word " * 100, "deep": [{"a": [None, True, 1.5, -0.0, 2**70]}] * 3, "": "\x00\x1b"}
    frames = [request(1, "tools/call", odd), response(2, 1, result=odd)]
    await play(frames, Server(frames))


async def test_a_large_answer_is_compared_by_its_members() -> None:
    frames = [request(1, "tools/call"), response(2, 1, result={"b": "x" * 10_000, "a": 1}), request(3, "x"), response(4, 3, result="y" * 10_000)]
    text = await play(frames, Server(frames))
    assert len(text) < 3000
    assert "['a', 'b']" in text


async def test_a_long_tape_gives_its_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_pytest, "STEPS", 3)
    server = Server(conversation())
    text = await play(conversation(), server)
    assert text.count("await") == 3
    assert "tape filter" in text


async def test_a_tape_without_answers() -> None:
    await play([request(1, "ping")], Server([]))
