"""The session table: one keeper a session, whose sleep is the idle deadline; nothing is held for a session that ended or never was."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from cancelling import Sword, cancel_everywhere
from dialogue import legacy, message
from fakes import Feed, answer_to
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machine import TrioMachine
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.errors import Overloaded, SessionUnknown, UpstreamBroken
from shadowproxy.exchange import NOTHING, Exchange, Session
from shadowproxy.service import running
from shadowproxy.sessions.table import COURTESY, Sessions

IDLE, LISTENING = 300.0, 3600.0


class Farewells:
    """What the upstream is told of sessions that ended by themselves."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.told: list[Session | None] = []

    async def __call__(self, exchange: Exchange) -> None:
        await trio.sleep(self.seconds)
        self.told.append(exchange.session)


def table(farewell: Farewells, limit: int = 10) -> Sessions:
    return Sessions(limit, IDLE, LISTENING, farewell)


@asynccontextmanager
async def open_table(sessions: Sessions) -> AsyncIterator[None]:
    """Its service has begun."""
    async with running(sessions.run):
        await wait_all_tasks_blocked()
        yield


def begin(sessions: Sessions, **result: object) -> Session:
    """`initialize`, answered."""
    session = sessions.prepare()
    exchange = legacy("initialize", session=session)
    sessions.admit(exchange, answer_to(exchange, **result))
    sessions.settle(session)
    return session


def id_of(session: Session) -> bytes:
    assert session.id is not None
    return session.id


async def test_a_session_can_be_found_from_its_admission_to_its_end(autojump_clock: MockClock) -> None:
    sessions = table(Farewells())
    async with open_table(sessions):
        session = sessions.prepare()
        with pytest.raises(SessionUnknown):
            sessions.find(id_of(session))
        exchange = legacy("initialize", session=session)
        sessions.admit(exchange, answer_to(exchange, protocolVersion="2025-03-26"))
        sessions.settle(session)
        assert (sessions.find(id_of(session)), session.version, len(sessions)) == (session, "2025-03-26", 1)
        session.end()
        with pytest.raises(SessionUnknown):
            sessions.find(id_of(session))
        assert len(sessions) == 0


@pytest.mark.parametrize("version", [7, None, {"a": 1}])
async def test_a_version_that_is_none_is_none(autojump_clock: MockClock, version: object) -> None:
    sessions = table(Farewells())
    async with open_table(sessions):
        assert begin(sessions, protocolVersion=version).version is None


async def test_a_streamed_answer_admits_too(autojump_clock: MockClock) -> None:
    sessions = table(Farewells())
    async with open_table(sessions):
        session = sessions.prepare()
        sessions.admit(legacy("initialize", session=session), Feed())
        sessions.settle(session)
        assert sessions.find(id_of(session)) is session


@pytest.mark.parametrize("how", ["refused", "failed", "died"])
async def test_one_that_does_not_come_to_be_takes_no_place_and_gives_back(autojump_clock: MockClock, how: str) -> None:
    sessions, given = table(Farewells(), limit=1), list[str]()
    async with open_table(sessions):
        for count in (1, 2):
            session = sessions.prepare()
            session.on_leave(given.append, "child")
            if how == "refused":
                sessions.admit(legacy("initialize", session=session), message(id=1, error={"code": 1, "message": "no"}))
            elif how == "died":
                session.end()
                sessions.admit(legacy("initialize", session=session), message(id=1, result={}))
            sessions.settle(session)
            assert (len(given), len(sessions), session.ended) == (count, 0, True)


async def test_the_limit_counts_those_on_their_way(autojump_clock: MockClock) -> None:
    sessions = table(Farewells(), limit=2)
    async with open_table(sessions):
        begin(sessions)
        coming = sessions.prepare()
        with pytest.raises(Overloaded, match=r"limits\.sessions"):
            sessions.prepare()
        sessions.settle(coming)
        sessions.prepare()


async def test_settling_twice_or_somebody_elses_changes_nothing(autojump_clock: MockClock) -> None:
    sessions = table(Farewells(), limit=1)
    async with open_table(sessions):
        session = begin(sessions)
        for stranger in (session, session, Session(b"stranger")):
            sessions.settle(stranger)
            sessions.admit(legacy("initialize", session=stranger), message(id=1, error={"code": 1, "message": "no"}))
        assert (sessions.find(id_of(session)), session.ended) == (session, False)
        with pytest.raises(Overloaded):
            sessions.prepare()


# ---------------------------------------------------- idleness
async def test_silence_ends_a_session_to_the_second_and_tells_the_upstream(autojump_clock: MockClock) -> None:
    farewells = Farewells()
    sessions = table(farewells)
    async with open_table(sessions):
        session = begin(sessions)
        for _ in range(3):
            await trio.sleep(IDLE - 1)
            with Exchange(NOTHING, "legacy", session) as exchange:
                sessions.hold(session, exchange)
        await trio.sleep(IDLE - 1)
        assert not session.ended
        await trio.sleep(1.1)
        assert (session.ended, farewells.told, len(sessions)) == (True, [session], 0)


async def test_use_has_no_end_of_its_own(autojump_clock: MockClock) -> None:
    sessions = table(Farewells())
    async with open_table(sessions):
        session = begin(sessions)
        with Exchange(NOTHING, "legacy", session) as one, Exchange(NOTHING, "legacy", session) as two:
            sessions.hold(session, one)
            sessions.hold(session, two)
            await trio.sleep(100 * IDLE)
            two.leave()
            await trio.sleep(100 * IDLE)
            assert not session.ended
        await trio.sleep(IDLE - 1)
        assert not session.ended
        await trio.sleep(1.1)
        assert session.ended


async def test_listeners_make_it_more_patient_while_they_are_there(autojump_clock: MockClock) -> None:
    sessions = table(Farewells())
    async with open_table(sessions):
        session = begin(sessions)
        with Exchange(NOTHING, "legacy", session) as one:
            sessions.hold(session, one, listening=True)
            with Exchange(NOTHING, "legacy", session) as two:
                sessions.hold(session, two, listening=True)
                await trio.sleep(2000)
            await trio.sleep(2000)
            assert not session.ended
        await trio.sleep(IDLE - 1)
        assert not session.ended
        await trio.sleep(1.1)
        assert session.ended


async def test_a_farewell_that_hangs_or_fails_ends_the_session_all_the_same(autojump_clock: MockClock) -> None:
    async def fail(exchange: Exchange) -> None:
        raise UpstreamBroken("no")

    for farewell, after in ((Farewells(1000), COURTESY), (fail, 0)):
        sessions = Sessions(10, IDLE, LISTENING, farewell)
        async with open_table(sessions):
            session, began = begin(sessions), trio.current_time()
            await trio.sleep(IDLE + after - 0.01)
            assert not session.ended
            await trio.sleep(0.02)
            assert (session.ended, trio.current_time() - began) == (True, pytest.approx(IDLE + after + 0.01))


async def test_a_session_that_says_farewell_cannot_be_found_any_more(autojump_clock: MockClock) -> None:
    sessions = table(Farewells(1.5))
    async with open_table(sessions):
        session = begin(sessions)
        await trio.sleep(IDLE + 1)
        assert not session.ended
        with pytest.raises(SessionUnknown):
            sessions.find(id_of(session))


# ---------------------------------------------------- the end of the table
async def test_closing_says_farewell_to_all_at_once(autojump_clock: MockClock) -> None:
    farewells = Farewells(1)
    sessions = table(farewells)
    async with open_table(sessions):
        all_of_them = [begin(sessions) for _ in range(10)]
        await sessions.close()
        assert (trio.current_time(), len(sessions), all(session.ended for session in all_of_them)) == (1, 0, True)
    assert set(farewells.told) == set(all_of_them)


async def test_closing_is_bounded(autojump_clock: MockClock) -> None:
    sessions = table(Farewells(1000))
    async with open_table(sessions):
        session = begin(sessions)
        await sessions.close()
        assert (trio.current_time(), session.ended) == (COURTESY, True)


async def test_the_end_of_the_service_ends_every_session(autojump_clock: MockClock) -> None:
    farewells = Farewells(1000)
    sessions, given = table(farewells), list[str]()
    async with open_table(sessions):
        begin(sessions).on_leave(given.append, "in its farewell")
        await trio.sleep(IDLE + 1)
        for name in ("one", "two"):
            begin(sessions).on_leave(given.append, name)
    assert (sorted(given), len(sessions), farewells.told) == (["in its farewell", "one", "two"], 0, [])


def test_cancelled_anywhere_every_session_has_ended() -> None:
    async def scenario(sword: Sword) -> None:
        sessions, begun = table(Farewells(1)), list[Session]()
        with sword():
            async with running(sessions.run):
                for wait in (0, IDLE - 0.5, 1):
                    await trio.sleep(wait)
                    begun.append(begin(sessions))
                    with Exchange(NOTHING, "legacy", begun[0]) as exchange:
                        sessions.hold(begun[0], exchange, listening=True)
                        await trio.sleep(0.1)
                begun[1].end()
                await sessions.close()
        assert (len(sessions), [session.ended for session in begun]) == (0, [True] * len(begun))
        assert [session.busy for session in begun] == [0] * len(begun)

    assert cancel_everywhere(scenario) > 10


class Machine(TrioMachine):
    """Sessions begun, used, listened to, ended and left alone, against a model that keeps each one's deadline by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = Sessions(4, IDLE, LISTENING, Farewells())
        self.model: dict[Session, float] = {}  # the time of the last use
        self.open: list[tuple[Session, Exchange, bool]] = []
        self.now = 0.0
        self.start(self.sessions.run)

    def _using(self, session: Session, listening: bool) -> bool:
        return any(one is session and how is listening for one, _, how in self.open)

    def _expire(self) -> None:
        for session, last in list(self.model.items()):
            if not self._using(session, False) and last + (LISTENING if self._using(session, True) else IDLE) <= self.now:
                del self.model[session]

    @rule()
    def begin(self) -> None:
        def step() -> None:
            try:
                self.model[begin(self.sessions)] = self.now
            except Overloaded:
                assert len(self.model) == 4

        self.do(step)

    @rule(which=st.integers(0, 3), listening=st.booleans())
    @precondition(lambda self: self.model)
    def use(self, which: int, listening: bool) -> None:
        session = list(self.model)[which % len(self.model)]
        exchange = Exchange(NOTHING, "legacy", session)
        self.do(lambda: self.sessions.hold(session, exchange, listening=listening))
        self.open.append((session, exchange, listening))

    @rule(which=st.integers(0, 10))
    @precondition(lambda self: self.open)
    def leave(self, which: int) -> None:
        session, exchange, _ = self.open.pop(which % len(self.open))
        self.do(exchange.leave)
        if session in self.model:
            self.model[session] = self.now

    @rule(which=st.integers(0, 3))
    @precondition(lambda self: self.model)
    def end(self, which: int) -> None:
        session = list(self.model)[which % len(self.model)]
        self.do(session.end)
        del self.model[session]

    @rule(seconds=st.sampled_from([1, 150, 299, 301, 3599, 3601]))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)
        self.now += seconds
        self._expire()

    @invariant()
    def the_table_is_the_model(self) -> None:
        assert len(self.sessions) == len(self.model)
        assert all(self.sessions.find(id_of(session)) is session and not session.ended for session in self.model)


TestMachine = Machine.TestCase
