"""Many clients, one child, any history: nobody ever gets what is another's. All of them call their requests and tokens the same."""
from __future__ import annotations

from typing import Any

import attrs
import trio
from dialogue import Json, modern, plain
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from machine import TrioMachine
from memory_children import MemoryChild, Nursery, spawning
from stdio_upstreams import server

from shadowproxy.config import Config, Upstream
from shadowproxy.errors import ProxyError
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.wire.eras import META_LOG_LEVEL, META_SUBSCRIPTION
from shadowproxy.wire.jsonrpc import Message

IDS = [1, "1", 2**70]
TOKENS = [None, 1, "1"]


@attrs.define(eq=False)
class Client:
    """One request: who asks, under which id and token, for what; what it has been told, and how it ended."""

    number: int
    id: Any
    token: Any
    kind: str
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    heard: list[Json] = attrs.field(factory=list)
    outcome: str | None = None


@attrs.define(eq=False)
class Asked:
    """The same as the server has it."""

    child: MemoryChild
    message: Json

    @property
    def number(self) -> int:
        number: int = self.message["params"]["arguments"]["number"]
        return number

    @property
    def meta(self) -> Json:
        meta: Json = self.message["params"]["_meta"]
        return meta


class Crowd(TrioMachine):
    nursery_of_children: Nursery

    def __init__(self) -> None:
        super().__init__()
        self.children = type(self).nursery_of_children
        self.children.children.clear()
        self.children._program = self.program
        self.upstream = StdioUpstream(Config(upstream=Upstream(command=("the-server",), warm=0)))
        self.clients: list[Client] = []
        self.asked: list[Asked] = []
        self.cancelled: list[tuple[int, int]] = []
        self.wires: set[tuple[int, int]] = set()
        self.start(self.upstream.run)

    async def program(self, child: MemoryChild, message: Json) -> None:
        method = message.get("method")
        if method == "notifications/cancelled":
            wire = message["params"]["requestId"]
            self.cancelled.append((child.pid, wire))
            self.asked = [one for one in self.asked if (one.child, one.message["id"]) != (child, wire)]
        elif method in ("tools/call", "subscriptions/listen"):
            assert (child.pid, message["id"]) not in self.wires, "no wire id comes twice"
            self.wires.add((child.pid, message["id"]))
            self.asked.append(Asked(child, message))
        else:
            await server(child, message)

    async def use(self, client: Client) -> None:
        method = "subscriptions/listen" if client.kind == "listen" else "tools/call"
        meta = {**({} if client.token is None else {"progressToken": client.token}), **({META_LOG_LEVEL: "info"} if client.kind == "log" else {})}
        with client.scope:
            try:
                with modern(method, {"name": "echo", "arguments": {"number": client.number}}, client.id, meta=meta, http=False) as exchange:
                    reply = await self.upstream.call(exchange)
                    if isinstance(reply, Message):
                        client.heard.append(plain(reply))
                    else:
                        async for item in reply:
                            assert isinstance(item, Message)
                            client.heard.append(plain(item))
                    client.outcome = "answered"
            except ProxyError as error:
                client.outcome = error.name
        if client.scope.cancelled_caught:
            client.outcome = "cancelled"

    @property
    def waiting(self) -> list[Client]:
        return [client for client in self.clients if client.outcome is None]

    def one(self, which: int) -> Asked:
        return self.asked[which % len(self.asked)]

    # ------------------------------------------------ what clients do
    @rule(id=st.sampled_from(IDS), token=st.sampled_from(TOKENS), kind=st.sampled_from(["call", "log", "log", "listen"]))
    def ask(self, id: Any, token: Any, kind: str) -> None:
        self.clients.append(Client(len(self.clients), id, token, kind))
        self.start(self.use, self.clients[-1])
        self.pass_time(60)  # past any pause before a restart

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 9))
    def leave(self, which: int) -> None:
        self.do(self.waiting[which % len(self.waiting)].scope.cancel)

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9))
    def leave_as_the_answer_comes(self, which: int) -> None:
        asked = self.one(which)

        async def both() -> None:
            await self._answer(asked)
            self.clients[asked.number].scope.cancel()

        self.call(both)

    # ------------------------------------------------ what the server does
    async def _answer(self, asked: Asked) -> None:
        self.asked.remove(asked)
        await asked.child.say({"id": asked.message["id"], "result": {"number": asked.number}})

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9))
    def answer(self, which: int) -> None:
        self.call(self._answer, self.one(which))

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9), times=st.integers(1, 3))
    def progress(self, which: int, times: int) -> None:
        asked = self.one(which)
        token = asked.meta.get("progressToken", asked.message["id"])  # wrongly, for one who asked for none
        for _ in range(times):
            self.call(asked.child.say, {"method": "notifications/progress", "params": {"progressToken": token, "number": asked.number}})

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9), as_text=st.booleans())
    def change(self, which: int, as_text: bool) -> None:
        asked = self.one(which)
        if asked.message["method"] == "subscriptions/listen":
            wire = str(asked.message["id"]) if as_text else asked.message["id"]
            self.call(asked.child.say, {"method": "notifications/x", "params": {"_meta": {META_SUBSCRIPTION: wire}, "number": asked.number}})

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9))
    def log(self, which: int) -> None:
        asked = self.one(which)
        if META_LOG_LEVEL in asked.meta:
            self.call(asked.child.say, {"method": "notifications/message", "params": {"number": asked.number}})

    @precondition(lambda self: self.children.living)
    @rule(what=st.sampled_from([{"id": 999, "result": {"number": -1}}, {"id": "1", "result": {"number": -1}}, {"id": None, "result": {"number": -1}},
                                {"method": "notifications/progress", "params": {"progressToken": 999, "number": -1}}, {"id": 1, "method": "roots/list"},
                                {"method": "notifications/cancelled", "params": {"requestId": 998}}, {"method": "notifications/x", "params": 5}]))  # fmt: skip
    def noise(self, what: Json) -> None:
        for child in self.children.living:
            self.call(child.say, what)

    @precondition(lambda self: self.children.living)
    @rule(garbage=st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"") + b"\n"))
    def garbage(self, garbage: bytes) -> None:
        for child in self.children.living:
            self.call(child.write, garbage)

    @precondition(lambda self: self.wires and self.children.living)
    @rule(which=st.integers(0, 9))
    def answer_once_more(self, which: int) -> None:
        """To a request that was answered or cancelled already."""
        pid, wire = sorted(self.wires)[which % len(self.wires)]
        if all((one.child.pid, one.message["id"]) != (pid, wire) for one in self.asked):
            for child in self.children.living:
                if child.pid == pid:
                    self.call(child.say, {"id": wire, "result": {"number": -1}})

    @precondition(lambda self: self.children.living)
    @rule(status=st.integers(0, 3))
    def die(self, status: int) -> None:
        for child in self.children.living:
            self.do(child.exit, status, "what a day")
        self.asked.clear()

    # ------------------------------------------------ what must hold
    @invariant()
    def nobody_gets_what_is_anothers(self) -> None:
        for client in self.clients:
            for message in client.heard:
                where: Json = message["result"] if "result" in message else message["params"]
                assert where["number"] == client.number
                if "id" in message:
                    assert message["id"] == client.id
                if "progressToken" in where:
                    assert where["progressToken"] == client.token
                if META_SUBSCRIPTION in where.get("_meta", {}):
                    assert where["_meta"][META_SUBSCRIPTION] == client.id

    @invariant()
    def the_response_is_the_last_thing_and_comes_once(self) -> None:
        for client in self.clients:
            responses = ["id" in message for message in client.heard]
            if client.outcome == "answered":
                assert responses == [False] * (len(responses) - 1) + [True]
            else:
                assert client.outcome in (None, "cancelled", "upstream_exited")
                assert not any(responses) or client.outcome == "cancelled"

    @invariant()
    def the_server_knows_who_still_waits(self) -> None:
        assert sorted(asked.number for asked in self.asked) == [client.number for client in self.waiting]
        assert len(self.cancelled) == len(set(self.cancelled))
        assert set(self.cancelled) <= self.wires
        assert len(self.cancelled) <= sum(client.outcome == "cancelled" for client in self.clients)


def test_nobody_ever_gets_what_is_anothers() -> None:
    with spawning(server) as children:
        Crowd.nursery_of_children = children
        run_state_machine_as_test(Crowd, settings=settings(max_examples=80, stateful_step_count=30, deadline=None))
