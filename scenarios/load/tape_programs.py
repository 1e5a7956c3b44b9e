"""What is measured of tapes that no command of shadowproxy does: programs of this process alone, so that their memory is theirs.

    python -m scenarios.load.tape_programs read TAPE
    python -m scenarios.load.tape_programs record TAPE EXCHANGES
    python -m scenarios.load.tape_programs hour TAPE

Out: a line of JSON: frames, and the seconds that they took.
"""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
import trio.testing

from scenarios.load.made_tape import frames, write
from shadowproxy.config import Record, Replay
from shadowproxy.exchange import Exchange, Session
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.recording.opening import open_recorder
from shadowproxy.tape.replaying.replay import TapeUpstream
from shadowproxy.tape.replaying.replay_opening import open_replay
from shadowproxy.wire.jsonrpc import Message

PAUSE = 0.25
"""Seconds between two frames of the tape that takes an hour."""
HOUR_BYTES = 17_000_000
HEADERS = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"), (b"mcp-protocol-version", b"2025-11-25"))


def read(path: Path) -> dict[str, float]:
    """Every frame, one after the other."""
    count = 0
    begun = time.perf_counter()
    with Reading(path) as reading:
        for _ in reading:
            count += 1
    return {"frames": count, "seconds": time.perf_counter() - begun}


def record(path: Path, exchanges: int) -> dict[str, float]:
    """Through the recorder to the disk; behind it stands nothing but the answer."""
    return trio.run(_record, path, exchanges)


async def _record(path: Path, exchanges: int) -> dict[str, float]:
    request = _message({"method": "tools/call", "params": {"name": "echo", "arguments": {"text": "x" * 100}}})
    reply = _message({"result": {"content": [{"type": "text", "text": "x" * 100}], "isError": False}})

    async def answer(exchange: Exchange) -> Message:
        return reply

    session = Session(b"one")
    begun = time.perf_counter()
    async with open_recorder(Record(path=str(path), durability="complete"), "bench") as recorder:
        side = recorder.leg("both")
        for number in range(exchanges):
            with Exchange(request, "legacy", session, HEADERS) as exchange:
                await side.call(answer, exchange)
            if number % 32 == 0:
                await trio.lowlevel.checkpoint()  # as many requests of one moment as there are connections
    seconds = time.perf_counter() - begun
    return {"frames": read(path)["frames"], "seconds": seconds}


def _message(members: dict[str, Any]) -> Message:
    return Message.decode(json.dumps({"jsonrpc": "2.0", "id": 1, **members}).encode())


def hour(path: Path) -> dict[str, float]:
    """A client that says all it said when it said it, and a tape that answers at its own speed, in virtual time. Raises if that was no hour."""
    count = write(path, frames(HOUR_BYTES, pause=PAUSE))
    clock = trio.testing.MockClock()
    begun = time.perf_counter()
    heard, virtual = trio.run(_hour, path, clock, clock=clock)
    if virtual < 3600 or not heard:
        raise SystemExit(f"{virtual:.0f} s of virtual time, {heard} messages heard: this was no hour of tape")
    return {"frames": count, "seconds": time.perf_counter() - begun}


async def _hour(path: Path, clock: trio.testing.MockClock) -> tuple[int, float]:
    """How many messages were heard, and how much later it was in the end."""
    async with open_replay(path, Replay(timing="recorded")) as tape:
        clock.autojump_threshold = 0  # from here on nothing is done in threads
        begun, heard = trio.current_time(), 0
        sessions: dict[str | None, Session] = {}
        with Reading(path) as reading:
            for frame in reading:
                if frame.dir == "c2s" and frame.message is not None:
                    await trio.sleep_until(max(begun + frame.t, trio.current_time()))
                    heard += await _say(tape, frame, sessions.setdefault(frame.session, Session(b"live")))
        return heard, trio.current_time() - begun


async def _say(tape: TapeUpstream, frame: Frame, session: Session) -> int:
    """What the client said; how many messages it heard in answer."""
    with Exchange(Message.decode(bytes(frame.message or b"")), "legacy", session, HEADERS) as exchange:
        if frame.kind == "notification":
            await tape.notify(exchange)
            return 0
        reply = await tape.call(exchange)
        return 1 if isinstance(reply, Message) else len([item async for item in reply])


def main(words: Sequence[str]) -> None:
    what, path = words[0], Path(words[1])
    done = record(path, int(words[2])) if what == "record" else {"read": read, "hour": hour}[what](path)
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
