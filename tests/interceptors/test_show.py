"""Show tells each message once, in both directions, and changes none."""
from __future__ import annotations

from collections.abc import AsyncIterator

from dialogue import all_of, legacy, listening, message

from shadowproxy.exchange import Exchange, Replies, Reply
from shadowproxy.interceptors.show import WIDTH, Show
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event


async def two(exchange: Exchange) -> Replies:
    async def replies() -> AsyncIterator[Message | Event]:
        yield message(method="notifications/progress")
        yield Event(b"", id=b"7")
        yield message(id=1, result={})

    return replies()


async def one(exchange: Exchange) -> Reply:
    return message(id=1, result={"text": "x" * 500})


async def test_a_plain_answer() -> None:
    told: list[tuple[str, str]] = []
    reply = await Show(lambda *line: told.append(line)).call(one, legacy("tools/call"))
    assert [way for way, _ in told] == ["-->", "<--"]
    assert '"tools/call"' in told[0][1]
    assert len(told[1][1]) == WIDTH
    assert told[1][1].endswith("…")
    assert (await all_of(reply))[0]["result"] == {"text": "x" * 500}


async def test_a_stream_keeps_its_events_too() -> None:
    told: list[tuple[str, str]] = []
    show = Show(lambda *line: told.append(line))
    reply = await show.call(two, legacy("tools/call"))
    assert not isinstance(reply, Message)
    assert [type(item) for item in [item async for item in reply]] == [Message, Event, Message]
    assert [way for way, _ in told] == ["-->", "<--", "<--"]


async def test_notifications_and_what_a_server_sends_unasked() -> None:
    told: list[tuple[str, str]] = []
    sent: list[Exchange] = []

    async def notify(exchange: Exchange) -> None:
        sent.append(exchange)

    show = Show(lambda *line: told.append(line))
    await show.notify(notify, legacy("notifications/initialized"))
    assert len(sent) == 1
    assert len(await all_of(await show.listen(two, listening()))) == 2
    assert [way for way, _ in told] == ["-->", "<--", "<--"]
