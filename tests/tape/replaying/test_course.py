"""Standing streams: what a client never does holds up nothing but what followed it, and nothing that only a clock or another stream has caused."""
from __future__ import annotations

from pathlib import Path

import pytest
import trio
from dialogue import META, Json, modern, plain
from replays import Caller, asked, call_modern, each, handshake, opened, replaying, tool
from tapes import happening, notification, request, response

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.replaying.replay import Held, TapeUpstream
from shadowproxy.wire.jsonrpc import Message

CHANGED = "notifications/tools/list_changed"
LISTEN: Json = {"filter": {}, "_meta": META}


def said(n: int, stream: str = "g4", session: str | None = "s1") -> Frame:
    """The server says this on a standing stream."""
    return notification(n, CHANGED, {"n": n}, exchange=int(stream[1:]), stream=stream, session=session)


def heard(client: Caller) -> list[int]:
    return [one["params"]["n"] for one in client.heard]


#: Three calls, and after each something that the stream says.
CALLS = [*handshake(), opened(4), *tool(5, {"n": 1}, {}), said(7), *tool(8, {"n": 2}, {}), said(10), said(11), *tool(12, {"n": 3}, {}), said(14)]


async def listening(tape: TapeUpstream, nursery: trio.Nursery) -> Caller:
    client = Caller(tape)
    await client.greet()
    await nursery.start(client.listen)
    return client


async def call(client: Caller, number: int) -> None:
    await client.call("tools/call", {"n": number})
    await trio.sleep(1)


async def test_what_followed_a_call_that_never_comes_holds_up_nothing(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, CALLS) as tape, trio.open_nursery() as nursery:
        client = await listening(tape, nursery)
        await trio.sleep(100)
        assert heard(client) == []
        await call(client, 2)
        assert heard(client) == [10, 11]
        await call(client, 3)
        assert heard(client) == [10, 11, 14]
        assert tape.held() == [Held(7, CHANGED, "s1", 6)]
        assert [one.n for one in tape.unused()] == [5]
        await call(client, 1)
        assert heard(client) == [10, 11, 14, 7], "late is better than never"
        assert tape.held() == []
        nursery.cancel_scope.cancel()


async def test_a_client_that_reconnects_gets_what_was_held_when_its_turn_comes(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, CALLS) as tape, trio.open_nursery() as nursery:
        client = await listening(tape, nursery)
        await call(client, 2)
        scope = await nursery.start(client.listen)
        scope.cancel()
        await call(client, 1)
        assert heard(client) == [10, 11]
        await nursery.start(client.listen)
        await trio.sleep(1)
        assert heard(client) == [10, 11, 7]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("between", [
    [*asked(5, "ping", None, {})],
    [opened(5), said(6, "g5")],
    [request(5, "ping", id=5, session="s1"), happening(6, "cancelled", dir="c2s", exchange=5, re=5, session="s1")],
], ids=["pings", "another stream", "a ping given up"])  # fmt: skip
async def test_what_a_clock_or_another_stream_has_done_is_no_cause(tmp_path: Path, autojump_clock: trio.abc.Clock, between: list[Frame]) -> None:
    async with replaying(tmp_path, [*handshake(), opened(4), *between, said(7)]) as tape, trio.open_nursery() as nursery:
        client = await listening(tape, nursery)
        await trio.sleep(1)
        assert 7 in heard(client)
        assert tape.held() == []
        nursery.cancel_scope.cancel()


async def test_one_subscription_does_not_wait_for_another(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Two clients were told of the same change; there is only one now. The first is told before the second where both are."""
    frames = [
        request(1, "subscriptions/listen", {"who": "a", **LISTEN}, id=1), request(2, "subscriptions/listen", {"who": "b", **LISTEN}, id=2),
        *asked(3, "tools/call", {"n": 1, "_meta": META}, {}, None),
        notification(5, CHANGED, {"n": 5}, exchange=1, stream="x1"), notification(6, CHANGED, {"n": 6}, exchange=2, stream="x2"),
        response(7, 1, stream="x1"),
    ]  # fmt: skip
    told: list[int] = []

    async def subscribe(tape: TapeUpstream, who: str) -> None:
        with modern("subscriptions/listen", {"who": who, **LISTEN}) as exchange:
            async for item in each(await tape.call(exchange)):
                assert isinstance(item, Message)
                told.append(plain(item).get("params", {"n": 0})["n"])

    for names, expected in ("b", [6]), ("ba", [5, 0, 6]):
        told.clear()
        async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:
            for who in names:
                nursery.start_soon(subscribe, tape, who)
            await trio.sleep(1)
            assert told == []
            await call_modern(tape, "tools/call", {"n": 1})
            await trio.sleep(1)
            assert sorted(told) == sorted(expected)
            assert [one for one in told if one] == [one for one in expected if one]
            nursery.cancel_scope.cancel()


async def test_who_stays_gets_what_a_later_stream_said(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """The recorded client left its stream and opened another one; this one does not."""
    left = happening(5, "cancelled", dir="c2s", exchange=4, stream="g4", session="s1")
    frames = [*handshake(), opened(4), left, *tool(6, {"n": 1}, {}), opened(8), *tool(9, {"n": 2}, {}), said(11, "g8")]
    async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:
        client = await listening(tape, nursery)
        await call(client, 1)
        assert heard(client) == []
        await call(client, 2)
        assert heard(client) == [11]
        nursery.cancel_scope.cancel()


async def test_the_log_tells_what_was_never_sent(tmp_path: Path, autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shadowproxy")
    async with replaying(tmp_path, CALLS) as tape, trio.open_nursery() as nursery:
        client = await listening(tape, nursery)
        await call(client, 2)
        assert client.session is not None
        assert tape.statistics()["tape_held"] == 2
        client.session.end()
        nursery.cancel_scope.cancel()
    [record] = caplog.records
    assert "never sent" in record.message
    assert record.__dict__["frames"] == ["7 (waited for 6)", "14 (waited for 13)"]
    assert tape.held() == [Held(7, CHANGED, "s1", 6), Held(14, CHANGED, "s1", 13)]
