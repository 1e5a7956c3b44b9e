"""Messages that pass by themselves are worked on many at once; on tape that shows in nothing."""
from __future__ import annotations

import pytest
import trio
from cancelling import virtually
from dialogue import POST, Json, legacy, message
from fakes import answer_to, note
from hypothesis import given
from hypothesis import strategies as st
from taping import Memory, recording, whole
from trio.testing import MockClock

from shadowproxy.errors import UpstreamBroken
from shadowproxy.exchange import Exchange, Reply, Session
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.recording import backlog as module
from shadowproxy.tape.recording.backlog import LARGE, MUCH, OVERHEAD, TOGETHER
from shadowproxy.tape.recording.recorder import LINGER
from shadowproxy.tape.recording.side import Side
from shadowproxy.tape.redaction.redact import DEFAULT, Redactor
from shadowproxy.wire.jsonrpc import Array, Message

SECRET = "sk-abcdefghijklmnopqrstuvwxyz0123456789"
KINDS = ("plain", "secret", "secret field", "pretty", "token", "array", "event", "resumable", "error", "note", "large", "piped", "pause")


def asked(kind: str, number: int, session: Session | None) -> Exchange:
    special: dict[str, Json] = {"secret": {"text": SECRET}, "token": {"_meta": {"progressToken": f"t{number}"}}, "large": {"text": "x" * LARGE}}
    params = special.get(kind, {"text": kind})
    headers = None if kind == "piped" else [*POST, (b"authorization", f"Bearer {SECRET}".encode())] if kind == "secret field" else POST
    exchange = legacy("notifications/x" if kind == "note" else "x", params, number, session, headers)
    if kind == "pretty":
        exchange.request = Message.decode(b'{"jsonrpc": "2.0", "id": %d, "method": "x", "params": {\n  "text":\n  "a"}}' % number)
    if kind == "array":
        exchange.request.array = Array()
    return exchange


async def answer(exchange: Exchange) -> Reply:
    kind = bytes(exchange.request.params().get("text", b'"plain"')).strip(b'"').decode()
    if kind == "error":
        raise UpstreamBroken("no")
    reply = answer_to(exchange)
    exchange.as_event = kind == "event"
    if kind == "resumable":
        reply.event_id = b"7"
    return reply


async def converse(side: Side, kinds: list[str]) -> None:
    session = Session(b"s")
    for number, kind in enumerate(kinds, 1):
        exchange = asked(kind, number, session if number % 2 else None)
        if kind == "pause":
            await trio.sleep(LINGER / 2)
        elif kind == "note":
            await side.notify(nobody, exchange)
        else:
            try:
                await side.call(answer, exchange)
            except UpstreamBroken:
                pass


async def nobody(exchange: Exchange) -> None:
    pass


def tape_of(kinds: list[str], together: int) -> list[Frame]:
    memory = Memory()

    async def main() -> None:
        async with recording(memory, Redactor(DEFAULT, b"k" * 32)) as recorder:
            await converse(recorder.leg("both"), kinds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TOGETHER", together)
        virtually(main)
    return memory.frames


@given(st.lists(st.sampled_from(KINDS), max_size=40))
def test_it_shows_in_nothing(kinds: list[str]) -> None:
    alone = tape_of(kinds, 1)
    assert whole(alone) == 0
    assert SECRET.encode() not in b"".join(bytes(frame.message or b"") for frame in alone)
    assert all(SECRET not in value for frame in alone if frame.http is not None for _, value in frame.http.headers)
    for together in (3, TOGETHER):
        assert [(frame.n, frame) for frame in tape_of(kinds, together)] == [(frame.n, frame) for frame in alone]


async def test_few_are_on_tape_as_soon_as_many(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder:
        await converse(recorder.leg("both"), ["plain"])
        await trio.sleep(LINGER + 0.01)
        assert memory.told == ["> request x #1 session=s1 id=1 POST", "< response #1 session=s1 id=1 re=1 200"]


async def test_much_is_written_without_waiting(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder:
        side = recorder.leg("both")
        for number in range(2 * MUCH // LARGE):
            await side.call(answer, asked("large", number, None))
            await trio.lowlevel.checkpoint()
        assert memory.writes >= 1
        assert recorder.statistics()["tape_waiting_bytes"] < 2 * MUCH


async def test_where_there_is_no_room_there_is_one_gap(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory, buffer=OVERHEAD + 1000) as recorder:
        recorder.backlog.note(recorder.backlog.talk(None), "c2s", "both", "notification", note().encode())
        await converse(recorder.leg("both"), ["large", "large"])
        await trio.sleep(10 * LINGER)
        await converse(recorder.leg("both"), ["plain"])
    assert [(frame.n, frame.kind, frame.lost) for frame in memory.frames] == [
        (1, "notification", None), (2, "gap", 3), (5, "response", None), (6, "request", None), (7, "response", None)]  # fmt: skip


async def test_what_is_noted_later_has_the_later_number(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder:
        side = recorder.leg("both")
        exchange = asked("plain", 1, None)
        await side.call(answer, exchange)
        side.aside(exchange, message(id=1, error={"code": -1, "message": "of the proxy's own"}))
    assert memory.told == ["> request x #1 id=1 POST", "< response #1 id=1 re=1 200", "< response #1 @x1 id=1 re=1"]
