"""One raw connection to a server in memory: what comes back is read all the time, so that nothing of it can be missed.

In: bytes. Out: the answers as h11 reads them, and whether the server has closed. Opened and ended by `open_raw`.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import msgspec
import trio
import trio.testing
from wires import HOST, Client

from shadowproxy.wire.sse import SseParser


@attrs.frozen
class Answer:
    """One whole response. `end` is the bytes of the head and of whatever belongs to it."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Raw:
    """`data` is what has come and was not taken as an answer yet."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.data = b""
        self.closed = False

    async def keep_reading(self) -> None:
        while part := await self.client._stream.receive_some():
            self.data += bytes(part)
        self.closed = True

    async def settle(self) -> None:
        """Until everybody waits for something else than us."""
        await trio.testing.wait_all_tasks_blocked()

    async def send(self, data: bytes) -> None:
        if data:
            await self.client.send(data)

    def answers(self, methods: list[str]) -> list[Answer]:
        """All whole answers that are here, taken; `methods` are those of their requests, the last for all others. Interim ones count as answers."""
        found: list[Answer] = []
        while self.data:
            answer = self._answer(methods[min(len(found), len(methods) - 1)], found)
            if answer is None:
                break
            found.append(answer)
        return found

    def _answer(self, method: str, interim: list[Answer]) -> Answer | None:
        reading = h11.Connection(h11.CLIENT)
        reading.send(h11.Request(method=method, target="/", headers=[HOST]))
        reading.send(h11.EndOfMessage())
        reading.receive_data(self.data)
        if self.closed:
            reading.receive_data(b"")
        head: h11.Response | None = None
        body = b""
        while True:
            try:
                event = reading.next_event()
            except h11.RemoteProtocolError:
                if not interim or head is not None or reading.trailing_data[0]:
                    raise
                self.data = b""  # told to go on, and then nothing: the client was the one who left
                return None
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.InformationalResponse):
                interim.append(Answer(event.status_code, tuple(event.headers), b""))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                self.data = bytes(reading.trailing_data[0])
                return Answer(head.status_code, tuple(head.headers), body)


def spelled(answer: Answer) -> list[list[Any]]:
    """The messages of an answer in the words of the corpus: of each its id as it is spelled, and its method, "result", or the code of its error.

    An event of another type than a message is ["event", its type]; a body that is neither JSON nor events is ["body", its beginning].
    """
    kind = dict(answer.fields).get(b"content-type", b"")
    if not kind.startswith((b"text/event-stream", b"application/json")):
        return [["body", answer.body[:40].decode("latin-1")]] if answer.body else []
    bodies = [answer.body]
    found: list[list[Any]] = []
    if kind.startswith(b"text/event-stream"):
        events = SseParser(1 << 24).feed(answer.body)
        found = [["event", event.event.decode()] for event in events if event.event]
        bodies = [event.data for event in events if event.data and not event.event]
    for body in bodies:
        try:
            found.append(in_words(body))
        except msgspec.DecodeError:
            return [["body", body[:40].decode("latin-1")]]
    return found


def in_words(data: bytes) -> list[Any]:
    """One message: its id as it is spelled, "-" for none, and what it is."""
    try:
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except RecursionError:
        return ["?", "too deep"]  # for us, who look at it from deeper down
    outcome = "result" if "result" in members else msgspec.json.decode(members["error"])["code"] if "error" in members else msgspec.json.decode(members["method"])
    return [bytes(members.get("id", b"-")).decode("latin-1"), outcome]


class Ear:
    """A response that does not end: what has come of its events since the last look."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._reading = h11.Connection(h11.CLIENT)
        self._reading.send(h11.Request(method="GET", target="/", headers=[HOST]))
        self._reading.send(h11.EndOfMessage())
        self._parser = SseParser(1 << 24)

    def heard(self) -> list[list[Any]]:
        """The messages, in the words of the corpus."""
        if self._raw.data:
            self._reading.receive_data(self._raw.data)
            self._raw.data = b""
        found = []
        while isinstance(event := self._reading.next_event(), h11.Response | h11.Data):
            if isinstance(event, h11.Data):
                found += [in_words(event.data) for event in self._parser.feed(bytes(event.data)) if event.data]
        return found


@asynccontextmanager
async def open_raw(connect: Callable[[], Client]) -> AsyncIterator[Raw]:
    """The connection is left as a client leaves that goes away."""
    raw = Raw(connect())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.keep_reading)
        yield raw
        nursery.cancel_scope.cancel(reason="the client goes away")
    raw.client.leave()
