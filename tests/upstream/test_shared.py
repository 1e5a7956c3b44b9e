"""One legacy child, many sessions: one handshake, the union of what they want, to each what concerns it."""
from __future__ import annotations

import json
from typing import Any

import trio
from dialogue import NO_ID, legacy, listening, response_of

from shadowproxy.config import Config, Upstream
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.peer import Peer
from shadowproxy.upstream.shared import Member, SharedChild
from shadowproxy.upstream.slot import Slot

CONFIG = Config(upstream=Upstream(command=("server",)))
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {"sampling": {}}, "clientInfo": {"name": "a", "version": "1"}}


class Server:
    """The child's end: reads what it was sent, says what its test wants said."""

    def __init__(self) -> None:
        self.peer = Peer(CONFIG)
        self.peer.era = "legacy"
        self.child = SharedChild(self.peer, CONFIG.limits)
        self.got: list[dict[str, Any]] = []

    async def read(self) -> dict[str, Any]:
        while not self.got:
            data = await self.peer.outbox.take()
            self.peer.outbox.written(len(data))
            self.got += [json.loads(line) for line in data.splitlines()]
        return self.got.pop(0)

    def say(self, **members: Any) -> None:
        self.peer.deliver(json.dumps({"jsonrpc": "2.0", **members}).encode())

    async def answer(self, **result: Any) -> dict[str, Any]:
        """Answer the next request, and tell what it was."""
        request = await self.read()
        self.say(id=request["id"], result=result)
        return request

    def join(self) -> tuple[Member, Session]:
        session = Session(b"s")
        return self.child.join(session), session


async def ask(member: Member, exchange: Exchange) -> dict[str, Any]:
    with exchange:
        return await response_of(await member.call(exchange))


async def heard(member: Member, count: int) -> list[str | None]:
    exchange = listening()
    replies = member.listen(exchange)
    assert isinstance(replies, Slot)
    with trio.move_on_after(1):
        return [(await replies.__anext__()).method for _ in range(count)]
    return []


async def test_the_second_handshake_is_answered_from_the_first(autojump_clock: object) -> None:
    server = Server()
    (one, _), (two, _) = server.join(), server.join()
    answers: list[dict[str, Any]] = []

    async def greet(member: Member, id: int) -> None:
        answers.append(await ask(member, legacy("initialize", HELLO, id=id)))
        await member.notify(legacy("notifications/initialized", id=NO_ID))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(greet, one, 1)
        nursery.start_soon(greet, two, 1)
        request = await server.answer(protocolVersion="2025-11-25", capabilities={})
        assert request["params"]["capabilities"] == {}, "its requests could not be told apart, so none are invited"
    assert [answer["id"] for answer in answers] == [1, 1]
    assert answers[0]["result"] == answers[1]["result"]
    assert (await server.read())["method"] == "notifications/initialized"
    assert not server.peer.outbox.size, "the server is greeted once"


async def test_a_refused_handshake_is_no_handshake(autojump_clock: object) -> None:
    server = Server()
    (one, _), (two, _) = server.join(), server.join()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, one, legacy("initialize", HELLO))
        request = await server.read()
        server.say(id=request["id"], error={"code": -1, "message": "no"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, two, legacy("initialize", HELLO))
        assert (await server.answer(protocolVersion="2025-11-25"))["method"] == "initialize"


async def test_equal_ids_of_two_sessions_do_not_meet(autojump_clock: object) -> None:
    server = Server()
    (one, _), (two, _) = server.join(), server.join()
    got: dict[str, Any] = {}

    async def call(name: str, member: Member) -> None:
        got[name] = (await ask(member, legacy("tools/call", {"name": name}, id=1)))["result"]["for"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, "a", one)
        nursery.start_soon(call, "b", two)
        requests = [await server.read(), await server.read()]
        for request in reversed(requests):
            server.say(id=request["id"], result={"for": request["params"]["name"]})
    assert got == {"a": "a", "b": "b"}


async def test_a_session_cancels_its_own_requests_only(autojump_clock: object) -> None:
    server = Server()
    session, other = Session(b"1"), Session(b"2")
    one, two = server.child.join(session), server.child.join(other)
    async with trio.open_nursery() as nursery:
        async def call() -> None:
            assert (await ask(one, legacy("tools/call", {}, id=1, session=session)))["result"] == {}

        nursery.start_soon(call)
        request = await server.read()
        await two.notify(legacy("notifications/cancelled", {"requestId": 1}, id=NO_ID, session=other))
        server.say(id=request["id"], result={})
    assert not server.peer.outbox.size


async def test_subscriptions_are_counted(autojump_clock: object) -> None:
    server = Server()
    (one, session), (two, _) = server.join(), server.join()
    subscribe = {"uri": "test://a"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, one, legacy("resources/subscribe", subscribe))
        assert (await server.answer())["method"] == "resources/subscribe"
    assert (await ask(two, legacy("resources/subscribe", subscribe)))["result"] == {}
    server.say(method="notifications/resources/updated", params={"uri": "test://a"})
    server.say(method="notifications/resources/updated", params={"uri": "test://b"})
    assert await heard(one, 1) == ["notifications/resources/updated"]
    assert await heard(two, 1) == ["notifications/resources/updated"]
    assert (await ask(two, legacy("resources/unsubscribe", subscribe)))["result"] == {}
    session.end()
    assert not server.child._subscribed


async def test_logging_is_as_talkative_as_the_most_curious_wants_and_no_more_for_the_others(autojump_clock: object) -> None:
    server = Server()
    (quiet, _), (curious, _) = server.join(), server.join()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, quiet, legacy("logging/setLevel", {"level": "error"}))
        assert (await server.answer())["params"]["level"] == "error"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, curious, legacy("logging/setLevel", {"level": "debug"}))
        assert (await server.answer())["params"]["level"] == "debug"
    assert (await ask(quiet, legacy("logging/setLevel", {"level": "critical"})))["result"] == {}
    server.say(method="notifications/message", params={"level": "info", "data": "x"})
    assert await heard(quiet, 1) == []
    assert await heard(curious, 1) == ["notifications/message"]


async def test_what_changes_for_all_reaches_all_once(autojump_clock: object) -> None:
    server = Server()
    (one, _), (two, _) = server.join(), server.join()
    server.say(method="notifications/tools/list_changed")
    assert await heard(one, 1) == ["notifications/tools/list_changed"]
    assert await heard(one, 1) == []
    server.say(method="notifications/prompts/list_changed")
    assert await heard(one, 1) == ["notifications/prompts/list_changed"], "a newer listener gets what the older one has not taken"
    assert await heard(two, 1) == ["notifications/tools/list_changed"]


async def test_a_request_of_the_server_is_refused_and_does_not_hang_it(autojump_clock: object) -> None:
    server = Server()
    server.join()
    server.say(id=5, method="sampling/createMessage", params={})
    refusal = await server.read()
    assert refusal["id"] == 5
    assert refusal["error"]["code"] == -32601


async def test_the_death_of_the_child_ends_every_session(autojump_clock: object) -> None:
    server = Server()
    (_, one), (_, two) = server.join(), server.join()
    assert server.peer.on_death is not None
    server.peer.on_death()
    assert one.ended
    assert two.ended
