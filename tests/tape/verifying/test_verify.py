"""Verifying: a tape's client side against upstreams in memory, in virtual time; each verdict, and the order in which things are said."""
from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
import trio
from dialogue import META, message
from fakes import FakeUpstream, Feed, answer_to, failing, feeding, hang, note
from scripted import Scripted
from tapes import happening, notification, request, response
from trio.testing import MockClock

from shadowproxy.errors import UpstreamAnswered, UpstreamExited
from shadowproxy.exchange import Exchange, Reply, Upstream
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import VOLATILE
from shadowproxy.tape.verifying import playing
from shadowproxy.tape.verifying.verdicts import Finding, Tally
from shadowproxy.tape.verifying.verify import Patience, Verifier
from shadowproxy.wire.jsonrpc import Message, Raw

S: dict[str, Any] = {"session": "s1"}
HELLO = [request(1, "initialize", {"protocolVersion": "2025-11-25"}, **S), response(2, re=1, result={"protocolVersion": "2025-11-25"}, **S),
         notification(3, "notifications/initialized", dir="c2s", **S)]  # fmt: skip


async def verify(frames: Sequence[Frame], upstream: Upstream, **options: Any) -> tuple[list[Finding], Tally]:
    found: list[Finding] = []
    tally = await Verifier(upstream, found.append, **options).run(frames)
    return found, tally


async def verdicts(frames: Sequence[Frame], upstream: Upstream, **options: Any) -> list[tuple[str, str]]:
    return [(finding.verdict, finding.label) for finding in (await verify(frames, upstream, **options))[0]]


def call(n: int, name: str, **rest: Any) -> Frame:
    return request(n, "tools/call", {"name": name}, id=n, **{**S, **rest})


def answer(n: int, re: int, **result: Any) -> Frame:
    return response(n, re, id=re, result=result, **S)


def sent(upstream: FakeUpstream) -> list[Any]:
    return [json.loads(exchange.request.encode()) for exchange in upstream.calls]


# ---------------------------------------------------- verdicts

TAPE = [*HELLO, call(4, "a"), answer(5, 4, x=1), call(6, "b"), answer(7, 6, x=2), happening(8, "end", dir="c2s", **S)]


async def test_a_server_that_answers_as_recorded_matches(autojump_clock: MockClock) -> None:
    upstream = Scripted(TAPE)
    found, tally = await verify(TAPE, upstream)
    assert [finding.verdict for finding in found] == ["MATCH"] * 3
    assert [said.get("method") for said in upstream.sent] == ["initialize", "notifications/initialized", "tools/call", "tools/call"]
    assert (upstream.ended, tally.counts["MATCH"], tally.unjudged) == (1, 3, 0)


def changing(old: object, new: object) -> Any:
    def change(value: dict[str, Any]) -> dict[str, Any]:
        result = value.get("result", {})
        return {**value, "result": {**result, "x": new}} if result.get("x") == old else value

    return change


async def test_changed(autojump_clock: MockClock) -> None:
    found, _ = await verify(TAPE, Scripted(TAPE, changing(2, "two")))
    assert [finding.verdict for finding in found] == ["MATCH", "MATCH", "CHANGED"]
    assert (found[-1].label, found[-1].place) == ("tools/call b", "frame 6, exchange 6, session s1")
    assert [str(one) for one in found[-1].differences] == ['/result/x: 2 -> "two"']


async def test_what_is_ignored_does_not_count(autojump_clock: MockClock) -> None:
    found = await verdicts(TAPE, Scripted(TAPE, changing(2, "two")), ignoring=VOLATILE.and_also(["tools/call:/result/x"]))
    assert {verdict for verdict, _ in found} == {"MATCH"}


async def test_an_error_where_there_was_a_result(autojump_clock: MockClock) -> None:
    def fail(value: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": 0, "error": {"code": -32603, "message": "boom"}} if value.get("result", {}).get("x") == 2 else value

    found, _ = await verify(TAPE, Scripted(TAPE, fail))
    assert (found[-1].verdict, found[-1].reason) == ("ERROR-SHAPE-CHANGED", "recorded: a result; now: error -32603: boom")


@pytest.mark.parametrize(("upstream", "reason"), [
    (FakeUpstream(hang), "timeout: no answer within 60 s"),
    (FakeUpstream(failing(UpstreamExited("it is dead"))), "upstream_exited (502): it is dead"),
    (FakeUpstream(feeding(Feed(ended=True))), "close: the stream ended without an answer"),
])  # fmt: skip
async def test_missing(upstream: FakeUpstream, reason: str, autojump_clock: MockClock) -> None:
    found, _ = await verify([request(1, "ping"), response(2, re=1)], upstream)
    assert [(finding.verdict, finding.reason) for finding in found] == [("MISSING", reason)]
    assert upstream.open == set()


async def test_a_refusal_is_compared_with_a_refusal(autojump_clock: MockClock) -> None:
    refused = [request(1, "ping"), happening(2, "refusal", exchange=1, re=1, error="upstream_refused")]
    assert await verdicts(refused, FakeUpstream(failing(UpstreamAnswered(401, (), b"")))) == [("ERROR-SHAPE-CHANGED", "ping")], "another status"
    assert await verdicts(refused, FakeUpstream()) == [("ERROR-SHAPE-CHANGED", "ping")]


async def test_messages_that_are_missing_or_extra(autojump_clock: MockClock) -> None:
    frames = [*HELLO, call(4, "a"), notification(5, "notifications/message", {"data": "one"}, exchange=4, stream="x4", **S), answer(6, 4)]
    assert ("MISSING", "notifications/message") in await verdicts(frames, Scripted(frames, lambda value: None if "params" in value else value))

    async def chatty(exchange: Exchange) -> Reply:
        return Feed(note("notifications/message", data="one"), note("notifications/message", data="two"), answer_to(exchange), ended=True)

    found = await verdicts(frames, FakeUpstream(chatty), ignoring=VOLATILE.and_also(["/result"]))
    assert found.count(("EXTRA", "notifications/message")) == 3, "two of the handshake, one of the call, of which the other was recorded"


async def test_a_notification_in_other_words_is_changed(autojump_clock: MockClock) -> None:
    frames = [*HELLO, call(4, "a"), notification(5, "notifications/message", {"data": "one"}, exchange=4, stream="x4", **S), answer(6, 4)]
    found, _ = await verify(frames, Scripted(frames, lambda value: {**value, "params": {"data": "uno"}} if "params" in value else value))
    (changed,) = [finding for finding in found if finding.verdict == "CHANGED"]
    assert (changed.what, [str(one) for one in changed.differences]) == ("notification", ['/params/data: "one" -> "uno"'])


async def test_a_whole_method_may_not_count(autojump_clock: MockClock) -> None:
    frames = [*HELLO, call(4, "a"), notification(5, "notifications/message", {"data": "one"}, exchange=4, stream="x4", **S), answer(6, 4)]
    silent = Scripted(frames, lambda value: None if "params" in value else value)
    assert {verdict for verdict, _ in await verdicts(frames, silent, ignoring=VOLATILE.and_also(["notifications/message"]))} == {"MATCH"}


async def test_what_has_no_answer_in_the_tape_is_not_judged(autojump_clock: MockClock) -> None:
    upstream = FakeUpstream(hang)
    found, tally = await verify([request(1, "ping"), happening(2, "gap", lost=7)], upstream)
    assert (found, tally.unjudged, tally.lost) == ([], 1, 7)
    assert len(upstream.cancelled) == 1


async def test_a_redacted_request_is_told_of_when_it_did_not_match(autojump_clock: MockClock) -> None:
    frames = [call(1, "[REDACTED:key:0123456789abcdef]", redacted=("key",)), answer(2, 1)]
    found, _ = await verify(frames, FakeUpstream())
    assert found[0].reason == "the request has redacted values, which were sent as they are"


# ---------------------------------------------------- order

async def test_what_was_asked_after_an_answer_is_asked_after_it(autojump_clock: MockClock) -> None:
    times: list[tuple[str, float]] = []

    async def slow(exchange: Exchange) -> Message:
        times.append((bytes(exchange.request.params()["name"]).decode(), trio.current_time()))
        await trio.sleep(10)
        return answer_to(exchange)

    started = trio.current_time()
    await verify([call(1, "a"), call(2, "b"), answer(3, 2), answer(4, 1), call(5, "c"), answer(6, 5)], FakeUpstream(slow))
    assert [(name, time - started) for name, time in times] == [('"a"', 0), ('"b"', 0), ('"c"', 10)]


async def test_ids_are_the_live_ones(autojump_clock: MockClock) -> None:
    upstream = FakeUpstream()
    await verify([request(1, "a", id="x", **S), request(2, "b", id="x", session="s2"), response(3, re=1, id="x", **S), response(4, re=2, id="x", session="s2")], upstream)
    assert [said["id"] for said in sent(upstream)] == [1, 2]


async def test_cursors_are_the_live_ones(autojump_clock: MockClock) -> None:
    async def page(exchange: Exchange) -> Message:
        await trio.lowlevel.checkpoint()
        return message(id=0, result={"tools": [], "nextCursor": "live"}) if "cursor" not in exchange.request.params() else message(id=0, result={"tools": []})

    frames = [request(1, "tools/list", {}), response(2, re=1, result={"tools": [], "nextCursor": "old"}), request(3, "tools/list", {"cursor": "old"}), response(4, re=3, result={"tools": []})]
    upstream = FakeUpstream(page)
    assert {verdict for verdict, _ in await verdicts(frames, upstream)} == {"MATCH"}
    assert sent(upstream)[1]["params"] == {"cursor": "live"}


ASKING = [*HELLO, call(4, "ask"), request(5, "sampling/createMessage", {"q": 1}, id="s-1", dir="s2c", exchange=4, stream="x4", **S),
          response(6, re=5, id="s-1", dir="c2s", result={"said": "yes"}, exchange=None, **S), answer(7, 4, heard="yes")]  # fmt: skip


async def test_the_servers_requests_are_answered_as_recorded(autojump_clock: MockClock) -> None:
    upstream = Scripted(ASKING)
    found, tally = await verify(ASKING, upstream)
    assert [finding.verdict for finding in found] == ["MATCH", "MATCH"]
    assert tally.messages == 1
    assert upstream.sent[-1] == {"jsonrpc": "2.0", "id": "live-5", "result": {"said": "yes"}}


async def test_an_answer_that_names_no_request_finds_it_by_id(autojump_clock: MockClock) -> None:
    frames = [frame if frame.n != 6 else msgspec.structs.replace(frame, re=None) for frame in ASKING]
    assert {verdict for verdict, _ in await verdicts(frames, Scripted(ASKING))} == {"MATCH"}


async def test_a_request_that_nobody_recorded_is_refused_and_extra(autojump_clock: MockClock) -> None:
    frames = [*HELLO, call(4, "ask"), answer(7, 4, heard="yes")]
    upstream = Scripted(ASKING)
    found, _ = await verify(frames, upstream)
    assert sorted((finding.verdict, finding.label) for finding in found) == [("EXTRA", "sampling/createMessage"), ("MATCH", "initialize"), ("MATCH", "tools/call ask")]
    assert upstream.sent[-1]["error"]["code"] == -32601


async def test_a_request_in_other_words_gets_the_recorded_answer(autojump_clock: MockClock) -> None:
    upstream = Scripted(ASKING, lambda value: {**value, "params": {"q": 2}} if value.get("method") == "sampling/createMessage" else value)
    found = await verdicts(ASKING, upstream)
    assert sorted(found) == [("CHANGED", "sampling/createMessage"), ("MATCH", "initialize"), ("MATCH", "tools/call ask")]
    assert upstream.sent[-1]["result"] == {"said": "yes"}


async def test_a_notification_that_was_waited_for_is_waited_for_but_not_for_ever(autojump_clock: MockClock) -> None:
    changed = notification(6, "notifications/tools/list_changed", {}, exchange=4, stream="g4", **S)
    frames = [*HELLO, happening(4, "open", dir="c2s", exchange=4, stream="g4", **S), changed, call(7, "a"), answer(8, 7)]
    feed, upstream = Feed(), FakeUpstream(lambda exchange: _right(exchange))
    upstream.on_listen = feeding(feed)
    times: list[float] = []

    async def _right(exchange: Exchange) -> Message:
        times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return message(id=0, result={"protocolVersion": "2025-11-25"} if exchange.request.method == "initialize" else {})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_later, feed, 3.0)
        assert {verdict for verdict, _ in await verdicts(frames, upstream)} == {"MATCH"}
    assert times[1] - times[0] == 3
    upstream.on_listen = feeding(Feed())
    assert ("MISSING", "notifications/tools/list_changed") in await verdicts(frames, upstream, patience=Patience(message=4))
    assert times[3] - times[2] == 4


async def _later(feed: Feed, seconds: float) -> None:
    await trio.sleep(seconds)
    feed.put(note("notifications/tools/list_changed"))


# ---------------------------------------------------- cancellation, eras, legs

async def test_a_legacy_cancellation_names_the_live_request_and_ends_it(autojump_clock: MockClock) -> None:
    frames = [*HELLO, request(4, "tools/call", {"name": "slow"}, id="old", **S), notification(5, "notifications/progress", {"progressToken": 1, "progress": 1}, exchange=4, stream="x4", **S),
              notification(6, "notifications/cancelled", {"requestId": "old"}, dir="c2s", **S), happening(7, "cancelled", dir="c2s", exchange=4, re=4, **S),
              call(8, "next"), answer(9, 8)]  # fmt: skip
    upstream = Scripted(frames)
    found, tally = await verify(frames, upstream)
    assert [(finding.verdict, finding.label) for finding in found] == [("MATCH", "initialize"), ("MATCH", "tools/call slow"), ("MATCH", "tools/call next")]
    live = next(said["id"] for said in upstream.sent if said.get("params") == {"name": "slow"})
    assert [said["params"] for said in upstream.sent if said.get("method") == "notifications/cancelled"] == [{"requestId": live}]
    assert tally.messages == 1, "the progress came before the cancellation"


async def test_a_modern_cancellation_leaves_the_exchange(autojump_clock: MockClock) -> None:
    frames = [request(1, "tools/call", {"name": "slow", "_meta": META}), happening(2, "cancelled", dir="c2s", exchange=1, re=1)]
    upstream = FakeUpstream(hang)
    assert await verdicts(frames, upstream) == [("MATCH", "tools/call slow")]
    assert [exchange.era for exchange in upstream.cancelled] == ["modern"]
    assert await verdicts(frames, FakeUpstream()) == [("MATCH", "tools/call slow")], "it may be faster than that"


async def test_a_subscription_stands_until_the_tape_ends(autojump_clock: MockClock) -> None:
    heard = notification(2, "notifications/tools/list_changed", {"_meta": {}}, exchange=1, stream="x1")
    frames = [request(1, "subscriptions/listen", {"_meta": META}), heard, happening(3, "cancelled", dir="c2s", exchange=1, re=1)]
    feed = Feed(note("notifications/tools/list_changed", _meta={}))
    found, tally = await verify(frames, FakeUpstream(feeding(feed)))
    assert ([finding.verdict for finding in found], tally.messages) == (["MATCH"], 1)


async def test_eras_and_sessions_are_the_recorded_ones(autojump_clock: MockClock) -> None:
    upstream = FakeUpstream()
    frames = [request(1, "ping", {"_meta": META}), response(2, re=1), request(3, "ping", **S), response(4, re=3, **S), request(5, "ping", session="s2"), response(6, re=5, session="s2"),
              request(7, "ping", **S), response(8, re=7, **S)]  # fmt: skip
    await verify(frames, upstream)
    modern, first, second, again = upstream.calls
    assert [exchange.era for exchange in upstream.calls] == ["modern", "legacy", "legacy", "legacy"]
    assert modern.session is None
    assert first.session is again.session is not second.session
    assert first.session is not None
    assert first.session.ended, "nothing is left"


async def test_the_clients_leg_is_passed_over(autojump_clock: MockClock) -> None:
    upstream = FakeUpstream()
    await verify([request(1, "before", leg="client", exchange=1), request(2, "after", leg="server", exchange=1), response(3, re=2, leg="server", exchange=1)], upstream)
    assert upstream.methods == ["after"]


async def test_frames_that_cannot_be_played_are_told(autojump_clock: MockClock) -> None:
    broken = Frame(n=1, t=0, dir="c2s", kind="request", exchange=1, method="x", message=Raw(b'{"jsonrpc":"1.0"}'))
    found, _ = await verify([broken], FakeUpstream())
    assert (found[0].verdict, found[0].reason.startswith("this frame cannot be played")) == ("MISSING", True)


async def test_a_notification_that_the_server_does_not_take(autojump_clock: MockClock) -> None:
    upstream = FakeUpstream()

    async def refuse(exchange: Exchange) -> None:
        raise UpstreamExited("it is dead")

    upstream.on_notify = refuse
    found, _ = await verify([notification(1, "notifications/roots/list_changed", dir="c2s", **S)], upstream)
    assert [(finding.verdict, finding.reason) for finding in found] == [("MISSING", "the server did not take it: it is dead")]


# ---------------------------------------------------- memory

class Plain:
    """The same answer to everybody, and no memory of it."""

    async def call(self, exchange: Exchange) -> Reply:
        await trio.lowlevel.checkpoint()
        return message(id=1, result={"text": "x" * 1000})

    async def notify(self, exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()

    async def listen(self, exchange: Exchange) -> Feed:
        return Feed()

    async def end(self, exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()


def _long(exchanges: int) -> Iterator[Frame]:
    for n in range(1, 2 * exchanges, 2):
        yield call(n, "a")
        yield answer(n + 1, n, text="x" * 1000)


async def test_nothing_is_held_of_what_is_over(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "KEPT", 50)
    tracemalloc.start()
    tally = await Verifier(Plain(), lambda finding: None).run(_long(1600))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tally.counts["MATCH"] == 1600
    assert peak < 800_000, "the tape has 3.2 MB, and as much was answered"
