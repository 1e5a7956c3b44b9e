"""The server's end of TLS over a socket pair: what every connection promises, above all writes that never wait, and what a client is told."""
from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
import trustme
from asgi_apps import Event, Receive, Recorder, Send
from programs import until
from wires import request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import PeerGone
from shadowproxy.downstream.http_server import HttpServer
from shadowproxy.downstream.tls_connection import TlsConnection, subject_of
from shadowproxy.watch import Watch

MUCH = bytes(range(256)) * 16_384  # 4 MiB: more than the kernel takes at once
CA = trustme.CA()
QUICK = Timeouts(head=0.3, body=0.3, keep_alive=0.2)


def server_context(*, wants_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    CA.issue_cert("localhost").configure_cert(context)
    if wants_certificate:
        CA.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(protocols)
    return context


@attrs.frozen
class Pair:
    """Our connection and the client's end, which has not shaken hands yet; `raw` is the client's socket."""

    ours: TlsConnection
    client: trio.SSLStream[trio.SocketStream]
    raw: trio.socket.SocketType

    async def shake_hands(self) -> str:
        agreed: list[str] = []

        async def accept() -> None:
            agreed.append(await self.ours.handshake(10))

        async with trio.open_nursery() as both:
            both.start_soon(accept)
            both.start_soon(self.client.do_handshake)
        return agreed[0]


@asynccontextmanager
async def pair(context: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None, write_timeout: float = 10) -> AsyncIterator[Pair]:
    watch = Watch()
    one, other = socket.socketpair()
    one.setblocking(False)
    raw = trio.socket.from_stdlib_socket(other)
    stream = trio.SSLStream(trio.SocketStream(raw), client or client_context(), server_hostname="localhost", https_compatible=True)
    ours = TlsConnection(one, context or server_context(), watch, write_timeout)
    try:
        async with trio.open_nursery() as watching:
            watching.start_soon(watch.run)
            with trio.fail_after(30):
                yield Pair(ours, stream, raw)
            watching.cancel_scope.cancel()
    finally:
        ours.abort()
        raw.close()
        watch.close()


async def all_of(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    with suppress(trio.BrokenResourceError):
        while part := await stream.receive_some(65536):
            data += part
    return bytes(data)


# ---------------------------------------------------- bytes
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: str(version.name))
async def test_bytes_go_both_ways_until_the_client_has_finished(version: ssl.TLSVersion) -> None:
    async with pair(client=client_context(version)) as both:
        assert await both.shake_hands() == "http/1.1"
        await both.client.send_all(b"hello")
        assert await both.ours.read() == b"hello"
        await both.ours.write(b"")
        await both.ours.write(b"hi")
        assert await both.client.receive_some(10) == b"hi"
        await both.client.aclose()
        assert await both.ours.read() == b""
        await until(lambda: both.ours.gone)


@pytest.mark.parametrize(("protocols", "agreed"), [((), "http/1.1"), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "h2"), (("x",), "http/1.1")])
async def test_the_protocol_is_agreed_on(protocols: tuple[str, ...], agreed: str) -> None:
    async with pair(client=client_context(ssl.TLSVersion.TLSv1_3, *protocols)) as both:
        assert (await both.shake_hands(), both.ours.subject) == (agreed, None)


async def test_much_goes_whole_in_both_directions_at_once() -> None:
    async with pair() as both:
        await both.shake_hands()
        taken = bytearray()

        async def take() -> None:
            while len(taken) < len(MUCH):
                taken.extend(await both.ours.read())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            nursery.start_soon(both.client.send_all, MUCH)
            nursery.start_soon(both.ours.write, MUCH)
            received = bytearray()
            while len(received) < len(MUCH):
                received += await both.client.receive_some(65536)
        assert bytes(taken) == bytes(received) == MUCH


async def test_the_clients_certificate_names_it() -> None:
    client = client_context()
    CA.issue_cert("a@example.org", organization_name="Home, Sweet", common_name="ann").configure_cert(client)
    async with pair(server_context(wants_certificate=True), client) as both:
        await both.shake_hands()
        assert both.ours.subject is not None
        assert "CN=ann" in both.ours.subject
        assert "O=Home\\, Sweet" in both.ours.subject


def test_no_certificate_no_subject() -> None:
    assert subject_of(None) is subject_of({}) is None


# ---------------------------------------------------- handshakes that fail
async def test_a_client_that_shows_no_certificate_is_told_so() -> None:
    async with pair(server_context(wants_certificate=True)) as both:
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                with pytest.raises(PeerGone, match=r"no TLS handshake.*certificate"):
                    await both.ours.handshake(10)
                both.ours.abort()

            nursery.start_soon(accept)
            await both.client.do_handshake()  # TLS 1.3: for the client it is over before it is judged
            with pytest.raises(trio.BrokenResourceError) as caught:
                await both.client.receive_some(10)
        assert "CERTIFICATE_REQUIRED" in str(caught.value.__cause__)


@pytest.mark.parametrize(("said", "reason"), [(b"GET / HTTP/1.1\r\n\r\n", "HTTP_REQUEST"), (b"\x16\x03\x01\x00\x02hi", "no TLS handshake"), (None, "the client left"), (b"", "within 0.2 s")])
async def test_what_is_no_handshake_is_none(said: bytes | None, reason: str) -> None:
    async with pair() as both:
        if said is None:
            both.raw.close()
        elif said:
            await both.raw.send(said)
        with pytest.raises(PeerGone, match=reason):
            await both.ours.handshake(0.2)


# ---------------------------------------------------- writes that do not wait
async def test_before_the_handshake_nothing_is_sent() -> None:
    async with pair() as both:
        assert not both.ours.write_nowait(b"too early")
        assert await both.shake_hands() == "http/1.1"


async def test_what_needs_no_waiting_is_sent_at_once() -> None:
    async with pair() as both:
        await both.shake_hands()
        assert both.ours.write_nowait(b": comment\n\n")
        assert await both.client.receive_some(100) == b": comment\n\n"


@pytest.mark.parametrize("room", ["some", "none"])
async def test_a_record_that_finds_too_little_room_goes_ahead_of_what_follows(room: str) -> None:
    async with pair() as both:
        await both.shake_hands()
        filled = 0
        while room == "none" and not both.ours._unsent:  # small ones, until the kernel takes no more of them
            assert both.ours.write_nowait(b"x" * 1000)
            filled += 1000
        if room == "some":
            assert both.ours.write_nowait(MUCH)
            filled = len(MUCH)
        assert not both.ours.write_nowait(b"never")
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await all_of(both.client))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await both.ours.write(b"then this")
            await both.ours.finish()
            both.ours.abort()
        (data,) = received
        assert (len(data), data.endswith(b"then this"), b"never" in data) == (filled + 9, True, False)


async def test_nothing_comes_between_the_parts_of_a_write_that_waits() -> None:
    async with pair() as both:
        await both.shake_hands()
        received = bytearray()
        async with trio.open_nursery() as writing:
            writing.start_soon(both.ours.write, MUCH)
            await until(lambda: both.ours._writing)
            assert not both.ours.write_nowait(b": comment\n\n")
            while len(received) < len(MUCH):
                received += await both.client.receive_some(65536)
        assert both.ours.write_nowait(b"after")
        assert (bytes(received) == MUCH, await both.client.receive_some(10)) == (True, b"after")


async def test_aborted_it_is_over() -> None:
    async with pair() as both:
        await both.shake_hands()
        await both.client.send_all(b"unread")
        both.ours.abort()
        assert (await both.ours.read(), both.ours.write_nowait(b"x"), both.ours.quiet()) == (b"", False, False)
        with pytest.raises(PeerGone):
            await both.ours.write(b"x")


async def test_a_client_that_does_not_read_is_given_up() -> None:
    async with pair(write_timeout=0.2) as both:
        await both.shake_hands()
        with pytest.raises(PeerGone, match=r"did not read for 0\.2 s"):
            await both.ours.write(MUCH)


async def test_an_idle_connection_is_quiet_until_something_comes() -> None:
    async with pair(client=client_context(ssl.TLSVersion.TLSv1_2)) as both:
        await both.shake_hands()
        assert both.ours.quiet()
        await both.client.send_all(b"x")
        assert not both.ours.quiet()


# ---------------------------------------------------- what the server has to say without being asked
async def silent(scope: Event, receive: Receive, send: Send) -> None:
    limit = scope["extensions"]["shadowproxy.limit"]
    limit.limit(None, receive, True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    limit.stand(QUICK.keep_alive, b": still here\n\n")
    await trio.sleep_forever()


async def broken(scope: Event, receive: Receive, send: Send) -> None:
    raise RuntimeError("a bug")


@asynccontextmanager
async def served(both: Pair, server: HttpServer) -> AsyncIterator[None]:
    async with trio.open_nursery() as serving:
        serving.start_soon(server.serve, both.ours)
        serving.start_soon(server.sweep)
        await both.client.do_handshake()
        yield
        serving.cancel_scope.cancel()


async def test_a_silent_stream_gets_comments() -> None:
    async with pair() as both, served(both, HttpServer(silent, Limits(), QUICK)):
        await both.client.send_all(request_bytes("GET"))
        received = b""
        while received.count(b": still here") < 3:
            received += await both.client.receive_some(1000)
        assert received.split(b"\r\n\r\n")[1].startswith(b"5\r\nbegun\r\ne\r\n: still here\n\n\r\n")


@pytest.mark.parametrize("part", [b"POST / HT", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab"], ids=["a head", "a body"])
async def test_a_request_that_stops_is_told_so(part: bytes) -> None:
    async with pair() as both, served(both, HttpServer(Recorder(), Limits(), QUICK)):
        await both.client.send_all(part)
        assert (await all_of(both.client)).startswith(b"HTTP/1.1 408 ")


async def test_a_bug_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as both, served(both, HttpServer(broken, Limits(), QUICK)):
        await both.client.send_all(request_bytes("GET"))
        assert (await all_of(both.client)).startswith(b"HTTP/1.1 500 ")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_who_is_turned_away_is_told() -> None:
    server = HttpServer(Recorder(), Limits(), QUICK)
    server.drain()
    async with pair() as both, served(both, server):
        await both.client.send_all(request_bytes())
        assert (await all_of(both.client)).startswith(b"HTTP/1.1 503 ")
    assert server.refused == 1
