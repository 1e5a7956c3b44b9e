"""Which fields cross the proxy, as a table."""
from __future__ import annotations

from collections.abc import Sequence

import pytest

from shadowproxy.errors import UpstreamBroken
from shadowproxy.upstream.fields import Fields

Pairs = Sequence[tuple[bytes, bytes]]


def sent(fields: Pairs, *, added: dict[str, str] | None = None, passthrough: bool = False, session: bytes | None = None, length: int | None = 2) -> list[str]:
    """The lines of the upstream request's head, the first and the empty last left out."""
    head = Fields("upstream.test:81", "/mcp?a=b", added or {}, passthrough).head(b"POST", fields, session, length)
    first, *lines, empty, rest = head.decode("latin-1").split("\r\n")
    assert (first, empty, rest) == ("POST /mcp?a=b HTTP/1.1", "", "")
    assert lines[0] == "host: upstream.test:81"
    return lines[1:]


@pytest.mark.parametrize("name", [
    "content-type", "accept", "user-agent", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-region", "last-event-id", "traceparent",
    "x-anything", "accept-language",
])
def test_what_crosses_towards_the_upstream(name: str) -> None:
    assert f"{name}: a value" in sent([(name.encode(), b"a value")])


@pytest.mark.parametrize("name", [
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",  # hop by hop
    "host", "content-length", "expect", "origin", "accept-encoding", "mcp-session-id", "http2-settings",                                       # ours
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-ip",                                  # claims
    "authorization", "cookie",                                                                                                                 # credentials
])
def test_what_does_not(name: str) -> None:
    assert sent([(name.encode(), b"evil")]) == ["content-length: 2"]


def test_credentials_cross_only_if_told_so() -> None:
    fields = [(b"authorization", b"Bearer x"), (b"cookie", b"a=b")]
    assert sent(fields, passthrough=True) == ["authorization: Bearer x", "cookie: a=b", "content-length: 2"]
    assert sent([(b"proxy-authorization", b"x"), (b"mcp-session-id", b"x")], passthrough=True) == ["content-length: 2"]


@pytest.mark.parametrize("connection", [
    [b"x-secret"], [b"keep-alive, X-Secret"], [b"close , x-secret,"], [b"X-SECRET"], [b"keep-alive", b"x-secret"], [b"x-secret", b"close"],
    [b"x-other", b"x-secret"],
])
def test_fields_that_connection_names_stop_here(connection: list[bytes]) -> None:
    fields = [(b"x-secret", b"1"), *((b"connection", value) for value in connection), (b"x-kept", b"2"), (b"x-secret", b"3")]
    assert sent(fields) == ["x-kept: 2", "content-length: 2"]


@pytest.mark.parametrize("connection", [b"keep-alive", b"Keep-Alive", b"close", b""])
def test_an_ordinary_connection_field_takes_nothing_along(connection: bytes) -> None:
    assert sent([(b"connection", connection), (b"x-kept", b"2")]) == ["x-kept: 2", "content-length: 2"]


def test_configured_headers_win_over_the_clients() -> None:
    added = {"Authorization": "Bearer own", "X-Team": "a"}
    fields = [(b"authorization", b"Bearer client"), (b"x-team", b"b"), (b"x-other", b"c")]
    for passthrough in (True, False):
        assert sent(fields, added=added, passthrough=passthrough) == ["authorization: Bearer own", "x-team: a", "x-other: c", "content-length: 2"]
    assert sent([(b"connection", b"x-team")], added=added) == ["authorization: Bearer own", "x-team: a", "content-length: 2"], "nor can it drop them"


def test_the_session_is_the_upstreams_own() -> None:
    assert sent([(b"mcp-session-id", b"ours")], session=b"theirs") == ["mcp-session-id: theirs", "content-length: 2"]


def test_order_and_repetition_are_kept() -> None:
    fields = [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"), (b"x-bytes", b"\xe9\xff")]
    assert sent(fields) == ["x-b: 1", "x-a: 2", "x-b: 3", "x-bytes: \xe9\xff", "content-length: 2"]


def test_without_a_body_there_is_no_length() -> None:
    assert sent([(b"content-length", b"7")], length=None) == []
    assert sent([], length=0) == ["content-length: 0"]


# --- back to the client

def back(fields: Pairs, *, passthrough: bool = False) -> Pairs:
    return list(Fields("a", "/", {}, passthrough).back(fields))


def passed(fields: Pairs) -> Pairs:
    return list(Fields("a", "/", {}, False).passed(fields))


@pytest.mark.parametrize("name", [b"www-authenticate", b"x-request-id", b"mcp-protocol-version", b"retry-after", b"vary", b"content-language"])
def test_what_comes_back(name: bytes) -> None:
    assert back([(name, b"v")]) == passed([(name, b"v")]) == [(name, b"v")]


@pytest.mark.parametrize("name", [
    b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"trailer", b"proxy-authenticate", b"content-length", b"mcp-session-id", b"date",
    b"cache-control", b"x-accel-buffering", b"set-cookie",
])
def test_what_does_not_come_back(name: bytes) -> None:
    assert back([(name, b"v")]) == passed([(name, b"v")]) == []


def test_the_content_type_is_ours_unless_the_answer_is_passed_on_as_it_came() -> None:
    assert back([(b"content-type", b"text/plain")]) == []
    assert passed([(b"content-type", b"text/plain")]) == [(b"content-type", b"text/plain")]


def test_cookies_come_back_with_passthrough_only() -> None:
    assert back([(b"set-cookie", b"a=b")], passthrough=True) == [(b"set-cookie", b"a=b")]


@pytest.mark.parametrize("connection", [[b"x-hop"], [b"close, X-Hop"], [b"x-other", b"x-hop"]])
def test_fields_that_the_upstreams_connection_names_stop_here_too(connection: list[bytes]) -> None:
    fields = [(b"x-hop", b"1"), *((b"connection", value) for value in connection), (b"x-kept", b"2")]
    assert back(fields) == passed(fields) == [(b"x-kept", b"2")]


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"br", b"deflate, gzip"])
def test_an_encoding_that_nobody_asked_for_is_refused(encoding: bytes) -> None:
    with pytest.raises(UpstreamBroken, match="compressed its answer"):
        back([(b"content-encoding", encoding)])


@pytest.mark.parametrize("encoding", [b"identity", b"Identity"])
def test_identity_is_none(encoding: bytes) -> None:
    assert back([(b"content-encoding", encoding)]) == [(b"content-encoding", encoding)]
