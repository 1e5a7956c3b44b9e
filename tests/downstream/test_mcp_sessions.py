"""Sessions of the legacy era over HTTP: begun by `initialize`, named by every later request, ended by DELETE, by silence, or by the server."""
from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from dialogue import LEGACY, MODERN, NO_ID, POST, legacy, message, modern
from fakes import FakeUpstream, Feed, after, answer_to, failing, feeding, hang, note
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import Client, House, open_house, posted

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange, Reply
from shadowproxy.wire.jsonrpc import Message

INITIALIZE = legacy("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
TIMES = Timeouts(session_idle=300, session_listening=3600, request=1000, request_max=1000)


async def begun(client: Client) -> str:
    """A new session's id."""
    response = await client.post(INITIALIZE)
    assert response.status == 200
    id = response["mcp-session-id"]
    assert id is not None
    return id


async def known(house: House, session: str) -> bool:
    """Whether the session lives; asking is not using it."""
    with suppress(LookupError):
        return session.encode() in house.sessions._table
    return False


async def test_initialize_begins_a_session_that_later_requests_name(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        session = await begun(client)
        response = await house.connect().post(legacy("tools/list"), mcp_session_id=session)
        assert (response.status, response["mcp-session-id"]) == (200, None)
        first, second = house.upstream.calls
        assert first.session is second.session
        assert (first.session is not None and first.session.id) == session.encode()
        assert len(house.sessions) == 1


async def test_ids_are_visible_characters_and_cannot_be_guessed(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        ids = {await begun(house.connect()) for _ in range(20)}
    assert len(ids) == 20
    assert all(len(id) >= 32 and all("!" <= letter <= "~" for letter in id) for id in ids)


async def test_two_sessions_are_two(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        one, other = await begun(client), await begun(client)
        for session in (one, other, one):
            await client.post(legacy("x"), mcp_session_id=session)
        ids = [exchange.session.id for exchange in house.upstream.calls[2:] if exchange.session is not None]
        assert ids == [one.encode(), other.encode(), one.encode()]


@pytest.mark.parametrize("id", ["unknown", "", "x" * 5000, "0" * 32])
@pytest.mark.parametrize("verb", ["POST", "notification", "batch", "GET", "DELETE", "initialize"])
async def test_an_unknown_session_is_not_found_and_never_another(autojump_clock: MockClock, id: str, verb: str) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        await begun(client)
        bodies = {"POST": legacy("x"), "notification": legacy("notifications/x", id=NO_ID), "initialize": INITIALIZE}
        body = b'[{"jsonrpc":"2.0","id":1,"method":"x"}]' if verb == "batch" else bodies[verb].request.encode() if verb in bodies else b""
        response = await client.ask(verb if verb in ("GET", "DELETE") else "POST", body=body, fields=POST, mcp_session_id=id)
        assert (response.status, response.code) == (404, 1201)
        assert (len(house.upstream.calls), house.upstream.notes, house.upstream.listeners, house.upstream.ends) == (1, [], [], [])
        assert len(house.sessions) == 1


async def test_whether_a_session_is_needed_is_for_the_upstream_to_say(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        assert (await house.connect().post(legacy("tools/list"))).status == 200
        assert [exchange.session for exchange in house.upstream.calls] == [None]


async def test_a_modern_request_has_no_session_whatever_it_says(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        response = await client.post(modern("tools/list"), mcp_session_id="unknown")
        assert (response.status, response["mcp-session-id"]) == (200, None)
        response = await client.post(modern("initialize"))
        assert (response["mcp-session-id"], len(house.sessions)) == (None, 0)
        assert [exchange.session for exchange in house.upstream.calls] == [None, None]


# ---------------------------------------------------- sessions that do not come to be
@pytest.mark.parametrize("refusal", [UpstreamBroken("no"), UpstreamAnswered(403, (), b""), None])
async def test_a_refused_initialize_leaves_no_session(autojump_clock: MockClock, refusal: Exception | None) -> None:
    given_back: list[str] = []

    async def call(exchange: Exchange) -> Reply:
        assert exchange.session is not None
        exchange.session.on_leave(given_back.append, "child")
        if refusal is not None:
            raise refusal
        return message(id=1, error={"code": -32602, "message": "Unsupported protocol version"})

    async with open_house(FakeUpstream(call), limits=Limits(sessions=1)) as house:
        client = house.connect()
        for count in (1, 2, 3):
            response = await client.post(INITIALIZE)
            assert (response["mcp-session-id"], len(house.sessions), len(given_back)) == (None, 0, count)


async def test_an_initialize_that_takes_too_long_leaves_no_session(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(hang), limits=Limits(sessions=1), timeouts=Timeouts(request=5)) as house:
        client = house.connect()
        for _ in range(2):
            assert (await client.post(INITIALIZE)).status == 504
        house.upstream.on_call = FakeUpstream().on_call
        await begun(client)


async def test_a_server_that_dies_during_initialize_leaves_no_session(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Message:
        assert exchange.session is not None
        exchange.session.end()
        return answer_to(exchange)

    async with open_house(FakeUpstream(call), limits=Limits(sessions=1)) as house:
        for _ in range(2):
            assert (await house.connect().post(INITIALIZE)).status == 200
            assert len(house.sessions) == 0


async def test_initialize_without_an_id_is_a_notification_and_takes_no_place(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), limits=Limits(sessions=1)) as house:
        client = house.connect()
        for _ in range(3):
            assert (await client.post(legacy("initialize", id=NO_ID))).status == 202
        await begun(client)


async def test_past_the_limit_there_is_no_further_session(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(after(5)), limits=Limits(sessions=2)) as house:
        clients = [house.connect() for _ in range(3)]
        for client in clients:
            await client.send(posted(INITIALIZE))
        statuses = [await client.response() for client in clients]
        assert sorted(response.status for response in statuses) == [200, 200, 503]
        (refused,) = (response for response in statuses if response.status == 503)
        assert (refused.code, refused["retry-after"], refused.json["id"]) == (1101, "1", 1)
        ended = next(response["mcp-session-id"] for response in statuses if response.status == 200)
        assert (await clients[0].ask("DELETE", mcp_session_id=ended or "")).status == 200
        await begun(clients[0])


async def test_a_second_initialize_within_a_session_neither_makes_nor_breaks_one(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), limits=Limits(sessions=1)) as house:
        client = house.connect()
        session = await begun(client)
        for _ in range(3):
            assert (await client.post(INITIALIZE, mcp_session_id=session)).status == 200
        house.upstream.on_call = failing(UpstreamBroken("once is enough"))
        assert (await client.post(INITIALIZE, mcp_session_id=session)).status == 502
        house.upstream.on_call = feeding(Feed(message(id=1, error={"code": -32600, "message": "once is enough"}), ended=True))
        assert (await client.post(INITIALIZE, mcp_session_id=session)).status == 200
        house.upstream.on_call = FakeUpstream().on_call
        assert (await client.post(legacy("x"), mcp_session_id=session)).status == 200
        assert (await client.post(INITIALIZE)).status == 503  # the limit still counts one
        assert len(house.sessions) == 1


# ---------------------------------------------------- the end
async def test_delete_ends_it_here_and_upstream(autojump_clock: MockClock) -> None:
    given_back: list[str] = []
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        session = await begun(client)
        assert house.upstream.calls[0].session is not None
        house.upstream.calls[0].session.on_leave(given_back.append, "child")
        assert (await client.ask("DELETE", mcp_session_id=session)).status == 200
        assert ([exchange.session for exchange in house.upstream.ends], given_back) == ([house.upstream.calls[0].session], ["child"])
        assert (await client.ask("DELETE", mcp_session_id=session)).status == 404
        assert (await client.post(legacy("x"), mcp_session_id=session)).status == 404
        assert len(house.sessions) == 0


async def test_a_server_that_does_not_let_clients_end_sessions_is_heard(autojump_clock: MockClock) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise UpstreamAnswered(405, ((b"allow", b"GET, POST"),), b"")

    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        session = await begun(client)
        house.upstream.on_end = refuse
        response = await client.ask("DELETE", mcp_session_id=session)
        assert (response.status, response["allow"]) == (405, "GET, POST")
        assert (await client.post(legacy("x"), mcp_session_id=session)).status == 200


async def test_delete_in_the_modern_era_is_not_served(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask("DELETE", mcp_protocol_version=MODERN)
        assert (response.status, response["allow"], house.upstream.ends) == (405, "POST, GET, DELETE, OPTIONS", [])


async def test_a_silent_session_ends_and_the_upstream_is_told(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), timeouts=TIMES) as house:
        client = house.connect()
        session = await begun(client)
        for _ in range(3):
            await trio.sleep(299)
            client = house.connect()
            assert (await client.post(legacy("x"), mcp_session_id=session)).status == 200
        await trio.sleep(299)
        assert await known(house, session)
        await trio.sleep(2)
        assert not await known(house, session)
        assert len(house.upstream.ends) == 1
        assert (await house.connect().post(legacy("x"), mcp_session_id=session)).status == 404


async def test_notifications_and_batches_are_use_too(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), timeouts=TIMES) as house:
        session = await begun(house.connect())
        for count in range(6):
            await trio.sleep(200)
            exchange = legacy("notifications/x", id=NO_ID)
            body = b"[%b]" % exchange.request.encode() if count % 2 else exchange.request.encode()
            assert (await house.connect().ask(body=body, fields=POST, mcp_session_id=session)).status == 202


@pytest.mark.parametrize("how", ["one", "batch"])
async def test_a_session_with_an_exchange_under_way_is_not_silent(autojump_clock: MockClock, how: str) -> None:
    async with open_house(FakeUpstream(after(900)), timeouts=TIMES) as house:
        client = house.connect()
        house.upstream.on_call = FakeUpstream().on_call
        session = await begun(client)
        house.upstream.on_call = after(900)
        body = legacy("x").request.encode()
        assert (await client.ask(body=body if how == "one" else b"[%b]" % body, fields=POST, mcp_session_id=session)).status == 200
        await trio.sleep(299)
        assert await known(house, session)
        await trio.sleep(2)
        assert not await known(house, session)


async def test_a_session_that_is_listened_to_has_longer_and_no_longer_than_it_is(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), timeouts=TIMES) as house:
        session = await begun(house.connect())
        stream = await house.connect().get(mcp_session_id=session)
        await trio.sleep(1000)
        assert await known(house, session)
        stream.client.leave()
        await trio.sleep(299)
        assert await known(house, session)
        await trio.sleep(2)
        assert not await known(house, session)


async def test_listening_alone_does_not_keep_a_session_for_ever(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(), timeouts=TIMES) as house:
        session = await begun(house.connect())
        await house.connect().get(mcp_session_id=session)
        await trio.sleep(3599)
        assert await known(house, session)
        await trio.sleep(2)
        assert not await known(house, session)


async def test_the_farewell_of_a_silent_session_catches_nobody(autojump_clock: MockClock) -> None:
    """While the upstream is told, the session is already gone for clients, who initialize anew rather than be cut off."""

    async def slowly(exchange: Exchange) -> None:
        await trio.sleep(1.5)

    async with open_house(FakeUpstream(), timeouts=TIMES) as house:
        session = await begun(house.connect())
        house.upstream.on_end = slowly
        await trio.sleep(301)
        assert len(house.upstream.ends) == 1
        assert (await house.connect().post(legacy("x"), mcp_session_id=session)).status == 404


async def test_a_server_that_ends_ends_its_session(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        session = await begun(client)
        assert house.upstream.calls[0].session is not None
        house.upstream.calls[0].session.end()
        assert (await client.post(legacy("x"), mcp_session_id=session)).status == 404
        await wait_all_tasks_blocked()
        assert len(house.sessions) == 0


async def test_the_session_survives_its_connections(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        client = house.connect()
        session = await begun(client)
        client.leave()
        await wait_all_tasks_blocked()
        assert (await house.connect().post(legacy("x"), mcp_session_id=session)).status == 200


async def test_what_the_client_answers_goes_by_its_session(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream()) as house:
        one, other = await begun(house.connect()), await begun(house.connect())
        reply = Exchange(message(id="asked", result={}), "legacy", None, POST)
        assert (await house.connect().post(reply, mcp_session_id=other)).status == 202
        (seen,) = house.upstream.notes
        assert (seen.session is not None and seen.session.id) == other.encode() != one.encode()


async def test_a_stream_of_the_session_carries_what_the_server_says(autojump_clock: MockClock) -> None:
    feed = Feed()
    async with open_house(FakeUpstream()) as house:
        house.upstream.on_listen = feeding(feed)
        session = await begun(house.connect())
        stream = await house.connect().get(mcp_session_id=session, last_event_id="7")
        (listener,) = house.upstream.listeners
        assert (listener.session is not None and listener.session.id, listener.last_event_id) == (session.encode(), b"7")
        feed.put(note("notifications/tools/list_changed"))
        assert await stream.message() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}
        feed.end()
        assert await stream.message() is None
        assert (await stream.client.ask("GET", fields=((b"mcp-session-id", b"x"),))).status == 404
