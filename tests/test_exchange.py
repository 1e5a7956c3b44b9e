"""What an exchange and a session hold is given back: last first, each once, whatever the others do."""
from __future__ import annotations

import pytest
import trio
from dialogue import NO_ID, legacy
from trio.testing import MockClock

from shadowproxy.exchange import NOTHING, Exchange, Session


def breaks() -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("owner", [Exchange(NOTHING, "legacy"), Session(b"s")], ids=["exchange", "session"])
def test_last_first_and_once(owner: Exchange | Session) -> None:
    given: list[str] = []
    for name in ("permit", "lease", "entry"):
        owner.on_leave(given.append, name)
    assert given == []
    owner.leave()
    owner.leave()
    assert given == ["entry", "lease", "permit"]


def test_one_that_raises_is_logged_and_the_rest_still_runs(caplog: pytest.LogCaptureFixture) -> None:
    given: list[str] = []
    with legacy("x") as exchange:
        exchange.on_leave(given.append, "permit")
        exchange.on_leave(breaks)
        exchange.on_leave(given.append, "lease")
    assert given == ["lease", "permit"]
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [("ERROR", True)]


def test_what_is_acquired_while_leaving_is_given_back_too() -> None:
    given: list[str] = []
    with legacy("x") as exchange:
        exchange.on_leave(given.append, "first")
        exchange.on_leave(exchange.on_leave, given.append, "meanwhile")
    assert given == ["meanwhile", "first"]


def test_whoever_raises_nothing_leaks() -> None:
    given: list[str] = []
    with pytest.raises(RuntimeError, match="a bug"), legacy("x") as exchange:
        exchange.on_leave(given.append, "permit")
        breaks()
    assert given == ["permit"]


async def test_a_cancellation_gives_back_as_well(autojump_clock: MockClock) -> None:
    given: list[str] = []
    with trio.move_on_after(1), legacy("x") as exchange:
        exchange.on_leave(given.append, "permit")
        await trio.sleep_forever()
    assert given == ["permit"]


def test_a_session_ends_once() -> None:
    given: list[str] = []
    session = Session(b"s")
    session.on_leave(given.append, "child")
    session.on_leave(session.end)  # as a table's entry does that ends what it drops
    session.end()
    session.end()
    assert (given, session.ended) == (["child"], True)


@pytest.mark.parametrize(("exchange", "id"), [(legacy("x", id="a"), b'"a"'), (legacy("x", id=1), b"1"), (legacy("x", id=NO_ID), None), (Exchange(NOTHING, "legacy"), None)])
def test_the_id_is_the_requests_own_bytes(exchange: Exchange, id: bytes | None) -> None:
    assert (None if exchange.id is None else bytes(exchange.id)) == id
