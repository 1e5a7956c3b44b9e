"""The clients of a crowd: HTTP by h11, each sure of what it may be told, and what came of each exchange.

In: a world and a plan. Out: a `Counter` of outcomes. What a client hears that is not its own raises at once. `run` owns all clients' tasks; they end with the plan.
"""
from __future__ import annotations

import itertools
import json
from collections import Counter

import attrs
import trio
import trio.testing
from crowd.kinds import Kind, World, open_world
from crowd.plans import Plan, Step
from crowd.server import CANCELLED, ERROR
from dialogue import LEGACY, NO_ID, Json, legacy, modern
from wires import Client, Events, posted

from shadowproxy import errors
from shadowproxy.exchange import Exchange
from shadowproxy.wire.eras import META_LOG_LEVEL, META_SUBSCRIPTION

NO_SESSION = "not asked: no session"
PATIENCE = 100.0
"""Virtual seconds after which every deadline has passed: who has heard nothing then never will."""
NAMES = {error.code: error.name for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.ProxyError) and error is not errors.SpecError}
NAMES |= {ERROR: "the server's own error", CANCELLED: "request_cancelled"}
AFTER_A_DEATH = {"upstream_unreachable", "upstream_exited", "upstream_broken", "session_unknown", "session_missing", "upstream_timeout", "overloaded"}


@attrs.define(eq=False)
class Session:
    """A legacy session under the name of the moment; for the modern era a mere group of connections."""

    world: World
    name: str | None = None
    own: set[int] = attrs.field(factory=set)  # the numbers of its exchanges
    cancelled: set[str] = attrs.field(factory=set)  # ids that it has cancelled
    opening: trio.Lock = attrs.field(factory=trio.Lock)

    async def begin(self) -> bool:
        """Whether there is a session: the handshake may be refused while the server is dying or busy."""
        async with self.opening:
            for _ in range(8 if self.name is None and self.world.kind.era == "legacy" else 0):
                client = self.world.connect()
                hello = legacy("initialize", {"protocolVersion": LEGACY, "capabilities": {}}, 1)
                response = await client.post(hello)
                client.leave()
                if response.status == 200 and "result" in response.json:
                    assert response.json["id"] == 1
                    self.name = response["mcp-session-id"]
                    await self.tell(legacy("notifications/initialized", id=NO_ID), self.name)
                    break
                await trio.sleep(1)
        return self.name is not None or self.world.kind.era == "modern"

    async def tell(self, what: Exchange, name: str | None) -> None:
        """A notification, or the answer to a request of the server, by the session of that name, which may have ended."""
        client = self.world.connect()
        await client.send(posted(what, **fields(name)))
        await client.response()
        client.leave()

    async def end(self) -> None:
        if self.name is not None:
            client = self.world.connect()
            await client.ask("DELETE", mcp_session_id=self.name)
            client.leave()
            self.name = None


def fields(name: str | None) -> dict[str, str]:
    return {} if name is None else {"mcp_session_id": name}


class Crowd:
    """One run of a plan."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.outcomes: Counter[str] = Counter()
        self.number = itertools.count(1).__next__
        self.busy = False  # more want something than there may be

    async def run(self, plan: Plan) -> None:
        self.busy = plan.pool is not None
        async with trio.open_nursery() as clients:
            for lanes in plan.sessions:
                session = Session(self.world)
                clients.start_soon(self._session, session, lanes)

    async def _session(self, session: Session, lanes: tuple[tuple[Step, ...], ...]) -> None:
        async with trio.open_nursery() as nursery:
            if self.world.kind.private and self.world.kind.carrier in ("stdio", "sse2024"):
                nursery.start_soon(self._listen, session)
            async with trio.open_nursery() as connections:
                for steps in lanes:
                    connections.start_soon(self._lane, session, steps)
            nursery.cancel_scope.cancel()
        await session.end()

    async def _lane(self, session: Session, steps: tuple[Step, ...]) -> None:
        lane = Lane(self, session)
        for step in steps:
            await trio.sleep(step.pause)
            if not await session.begin():
                self.outcomes[NO_SESSION] += 1
                continue
            self.outcomes[await lane.ask(step)] += 1
        lane.leave()

    async def _listen(self, session: Session) -> None:
        """Hear what the session's server says unasked, as long as the session lasts, and answer what it asks."""
        while True:
            client = self.world.connect()
            try:
                begun = await session.begin()
                name = session.name
                events = await self._open(client, name) if begun else None
                while events is not None and (message := await events.message()) is not None:
                    assert message["params"]["number"] in session.own, f"{message} is another session's"
                    await answer(session, message, name)
            finally:
                client.leave()
            await trio.sleep(1)

    async def _open(self, client: Client, name: str | None) -> Events | None:
        try:
            return await client.get(**fields(name))
        except AssertionError:  # it has ended already
            assert self.world.server.deaths, "a session ended by itself"
            return None


async def answer(session: Session, message: Json, name: str | None) -> None:
    """If it is a request of the server."""
    if "id" in message and "method" in message:
        exchange = legacy("x", id=message["id"])
        exchange.request.members = {"jsonrpc": "2.0", "id": message["id"], "result": {"number": message["params"]["number"]}}
        await session.tell(exchange, name)


class Lane:
    """One connection, and one exchange after the other on it; a new one when it has been left or closed."""

    def __init__(self, crowd: Crowd, session: Session) -> None:
        self._crowd, self._session, self._kind = crowd, session, crowd.world.kind
        self._client: Client | None = None
        self._step: Step
        self._name: str | None = None  # of the session, as it was when the exchange began
        self._number = 0
        self._heard: Json | None = None  # the response
        self._whole = False  # nothing of it is left on the connection

    def leave(self) -> None:
        if self._client is not None:
            self._client.leave()
            self._client = None

    async def ask(self, step: Step) -> str:
        """One exchange; the outcome's name."""
        self._step, self._number, self._heard, self._whole, self._name = step, self._crowd.number(), None, False, self._session.name
        self._session.own.add(self._number)
        if self._client is None:
            self._client = self._crowd.world.connect()
        with trio.fail_after(PATIENCE):
            await self._exchange(self._client)
        if not self._whole:
            self.leave()
        return "left" if self._heard is None else self._judge(self._heard)

    # ------------------------------------------------ asking
    def _request(self) -> bytes:
        step = self._step
        arguments = {"number": self._number, "notes": step.notes, "delay": step.delay, "end": step.end, "extras": sorted(step.extras)}
        meta = {} if step.token is None else {"progressToken": step.token}
        if self._kind.era == "legacy":
            return posted(legacy("tools/call", {"name": "echo", "arguments": arguments, "_meta": meta}, step.id), **fields(self._name))
        if "log" in step.extras:
            meta[META_LOG_LEVEL] = "info"
        method = "subscriptions/listen" if step.kind == "listen" else "tools/call"
        return posted(modern(method, {"name": "echo", "arguments": arguments}, step.id, meta=meta))

    async def _exchange(self, client: Client) -> None:
        async with trio.open_nursery() as nursery:
            if self._step.patience is not None:
                nursery.start_soon(self._lose_patience, self._step.patience, nursery.cancel_scope)
            await client.send(self._request())
            await self._read(client)
            nursery.cancel_scope.cancel()

    async def _lose_patience(self, seconds: float, scope: trio.CancelScope) -> None:
        """Say so and hear the rest of the answer, or leave without a word."""
        await trio.sleep(seconds)
        if not self._step.cancels:
            return scope.cancel()
        self._session.cancelled.add(json.dumps(self._step.id))
        await self._session.tell(legacy("notifications/cancelled", {"requestId": self._step.id}, NO_ID), self._name)

    async def _read(self, client: Client) -> None:
        head = await client.head()
        if head["content-type"] == "text/event-stream":
            events = Events(client, head)
            while (message := await events.message()) is not None:
                await self._hear(message)
        else:
            body = b""
            while part := await client.part():
                body += part
            await self._hear(json.loads(body) if body else {"id": self._step.id, "error": {"code": errors.SessionUnknown.code}})
        assert self._heard is not None, "an answer without a response"
        self._whole = head["connection"] != "close"

    # ------------------------------------------------ hearing
    async def _hear(self, message: Json) -> None:
        step = self._step
        assert self._heard is None, f"{message} came after the response"
        if "method" not in message:
            assert message["id"] == step.id
            assert type(message["id"]) is type(step.id), f"{step.id!r} came back as {message['id']!r}"
            self._heard = message
            return
        params = message["params"]
        if message["method"] == "notifications/progress":
            assert params["progressToken"] == step.token
            assert type(params["progressToken"]) is type(step.token)
        if META_SUBSCRIPTION in params.get("_meta", {}):
            assert params["_meta"][META_SUBSCRIPTION] == step.id
        own = {self._number} if message["method"] in ("notifications/progress", "notifications/x") or self._kind.era == "modern" else self._session.own
        assert params["number"] in own, f"{message} is another's"
        await answer(self._session, message, self._name)

    def _judge(self, response: Json) -> str:
        step, server = self._step, self._crowd.world.server
        if "result" in response:
            assert response["result"]["number"] == self._number, f"{response} is another's, not {self._number}'s"
            assert step.end == "result"
            return "answered"
        error = response["error"]
        outcome = NAMES.get(error["code"], str(error))
        allowed = set(AFTER_A_DEATH) if server.deaths else set()
        if outcome == "the server's own error":
            assert error["data"] == self._number, f"{response} is another's, not {self._number}'s"
        allowed |= {"the server's own error"} if step.end == "error" else set()
        allowed |= {"upstream_timeout"} if step.slow or self._crowd.busy else set()
        allowed |= {"overloaded"} if self._crowd.busy else set()
        allowed |= {"request_cancelled"} if json.dumps(step.id) in self._session.cancelled else set()
        assert outcome in allowed, f"{response} for {step}"
        if outcome.startswith("session") and self._session.name == self._name:
            self._session.name = None
        return outcome


async def crowd(kind: Kind, plan: Plan) -> Counter[str]:
    """Run the plan before an upstream of this kind; what came of its exchanges."""
    async with open_world(kind, plan.pool) as world:
        one = Crowd(world)
        await one.run(plan)
        await trio.sleep(PATIENCE)
        await trio.testing.wait_all_tasks_blocked()
        assert world.server.complaints == [], world.server.complaints
        assert world.left_over() == {}, world.left_over()
    return one.outcomes
