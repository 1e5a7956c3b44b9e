"""The proxy as an ASGI application: it lives in the lifespan of its server, answers within it, and gives everything back with it."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from asgi_client import Direct
from cancelling import Sword, cancel_everywhere
from dialogue import legacy, modern
from fakes import FakeUpstream, hang, result_of
from trio.testing import MockClock, wait_all_tasks_blocked

import shadowproxy
from shadowproxy.application import Application
from shadowproxy.config import Config, Timeouts, Upstream
from shadowproxy.exchange import Call, Exchange, Reply

CONFIG = Config(upstream=Upstream(command=("none",)), timeouts=Timeouts(session_idle=300))


class Behind:
    """A fake upstream where the application opens its own; `open` while it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.upstream = FakeUpstream()
        self.open = 0
        monkeypatch.setattr("shadowproxy.application.open_upstream", self._open)

    @asynccontextmanager
    async def _open(self, config: Config, watch: object) -> AsyncIterator[FakeUpstream]:
        self.open += 1
        try:
            yield self.upstream
        finally:
            self.open -= 1


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Behind:
    return Behind(monkeypatch)


class Lifespan:
    """The server's side of a lifespan."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._shutdown = trio.Event()
        self.said: list[str] = []
        self.messages: list[str] = []
        self.changed = trio.Event()

    async def run(self) -> None:
        events = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            event = next(events)
            if event == "lifespan.shutdown":
                await self._shutdown.wait()
            return {"type": event}

        async def send(event: dict[str, Any]) -> None:
            await trio.lowlevel.checkpoint()
            self.said.append(event["type"])
            self.messages += [event["message"]] if "message" in event else []
            self.changed.set()

        await self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    def stop(self) -> None:
        self._shutdown.set()


@asynccontextmanager
async def served(app: Application) -> AsyncIterator[Lifespan]:
    lifespan = Lifespan(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifespan.run)
        await lifespan.changed.wait()
        yield lifespan
        lifespan.stop()


async def ask(app: Application, exchange: Exchange, **fields: str) -> Direct:
    direct = Direct(app, exchange, fields=[(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()])
    await direct.run()
    return direct


async def test_it_answers_while_its_server_runs_the_lifespan(autojump_clock: MockClock, behind: Behind) -> None:
    app = shadowproxy.asgi(CONFIG)
    async with served(app) as lifespan:
        assert (lifespan.said, behind.open) == (["lifespan.startup.complete"], 1)
        for exchange in (modern("tools/list"), legacy("tools/list")):
            assert result_of((await ask(app, exchange)).json) == {"of": "tools/list"}
    assert (lifespan.said, behind.open) == (["lifespan.startup.complete", "lifespan.shutdown.complete"], 0)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_without_a_lifespan_every_request_says_so(autojump_clock: MockClock, behind: Behind, when: str) -> None:
    app = shadowproxy.asgi(CONFIG)
    if when == "after":
        async with served(app):
            pass
    direct = await ask(app, modern("x"))
    assert (direct.status, direct["retry-after"], direct.json["error"]["code"]) == (503, "1", 1101)
    assert "lifespan" in direct.json["error"]["message"]
    assert behind.upstream.calls == []


async def test_it_may_be_opened_again(autojump_clock: MockClock, behind: Behind) -> None:
    app = shadowproxy.asgi(CONFIG)
    for _ in range(2):
        async with served(app):
            assert (await ask(app, modern("x"))).status == 200


async def test_web_sockets_are_refused(autojump_clock: MockClock, behind: Behind) -> None:
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    app = shadowproxy.asgi(CONFIG)
    async with served(app):
        await app({"type": "websocket", "path": "/mcp", "headers": []}, hang, send)
    assert sent == [{"type": "websocket.close", "code": 1003}]


async def test_interceptors_are_asked(autojump_clock: MockClock, behind: Behind) -> None:
    seen: list[str | None] = []

    class Seeing:
        async def call(self, next: Call, exchange: Exchange) -> Reply:
            seen.append(exchange.request.method)
            return await next(exchange)

    app = shadowproxy.asgi(CONFIG, interceptors=[Seeing()])
    async with served(app):
        await ask(app, modern("tools/list"))
    assert seen == ["tools/list"]


async def test_sessions_live_as_long_as_the_lifespan_and_the_upstream_is_told(autojump_clock: MockClock, behind: Behind) -> None:
    given_back: list[str] = []
    app = shadowproxy.asgi(CONFIG)
    async with served(app):
        session = (await ask(app, legacy("initialize")))["mcp-session-id"] or ""
        other = (await ask(app, legacy("initialize")))["mcp-session-id"] or ""
        for exchange in behind.upstream.calls:
            assert exchange.session is not None
            exchange.session.on_leave(given_back.append, "child")
        await trio.sleep(200)
        assert (await ask(app, legacy("x"), mcp_session_id=session)).status == 200
        await trio.sleep(200)
        assert (await ask(app, legacy("x"), mcp_session_id=other)).status == 404  # silent for too long
        assert (len(behind.upstream.ends), given_back) == (1, ["child"])
    assert (len(behind.upstream.ends), given_back) == (2, ["child"] * 2)


async def test_hosts_and_origins_are_those_of_the_settings(autojump_clock: MockClock, behind: Behind) -> None:
    app = shadowproxy.asgi(Config(upstream=Upstream(command=("none",)), allowed_origins=("https://app.example",)))
    async with served(app):
        assert (await ask(app, modern("x"), origin="https://app.example")).status == 200
        assert (await ask(app, modern("x"), origin="https://other.example")).status == 403


def test_cancelled_anywhere_the_application_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = Behind(monkeypatch)

    async def scenario(sword: Sword) -> None:
        app = shadowproxy.asgi(CONFIG)
        behind.upstream = FakeUpstream()
        with sword():
            async with served(app):
                await ask(app, legacy("initialize"))
        assert (behind.open, behind.upstream.open) == (0, set())
        assert all(exchange.session is None or exchange.session.ended for exchange in behind.upstream.calls)
        assert (await ask(app, modern("x"))).status == 503

    assert cancel_everywhere(scenario) > 10


async def test_a_lifespan_that_is_cancelled_ends_at_once(autojump_clock: MockClock, behind: Behind) -> None:
    app = shadowproxy.asgi(CONFIG)
    lifespan = Lifespan(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifespan.run)
        await lifespan.changed.wait()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (behind.open, trio.current_time()) == (0, 0)
    assert (await ask(app, modern("x"))).status == 503


@pytest.mark.parametrize("group", [False, True])
async def test_a_start_that_fails_is_told_to_the_server(autojump_clock: MockClock, behind: Behind, monkeypatch: pytest.MonkeyPatch,
                                                        caplog: pytest.LogCaptureFixture, group: bool) -> None:  # fmt: skip
    @asynccontextmanager
    async def fails(config: Config, watch: object) -> AsyncIterator[FakeUpstream]:
        await trio.lowlevel.checkpoint()
        error = OSError("no trust store")
        raise ExceptionGroup("nursery", [error]) if group else error
        yield FakeUpstream()

    monkeypatch.setattr("shadowproxy.application.open_upstream", fails)
    app = shadowproxy.asgi(CONFIG)
    lifespan = Lifespan(app)
    await lifespan.run()
    assert (lifespan.said, lifespan.messages) == (["lifespan.startup.failed"], ["shadowproxy could not be started: no trust store"])
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [("ERROR", True)]
    assert (await ask(app, modern("x"))).status == 503


async def test_what_fails_later_is_no_start_that_failed(autojump_clock: MockClock, behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: object) -> None:
        raise OSError("broken")

    app = shadowproxy.asgi(CONFIG)
    lifespan = Lifespan(app)
    monkeypatch.setattr("shadowproxy.sessions.table.Sessions.close", fails)
    lifespan.stop()
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        await lifespan.run()
    assert (lifespan.said, behind.open) == (["lifespan.startup.complete"], 0)
