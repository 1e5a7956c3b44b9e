"""What the texts among the settings may be: good ones pass, bad ones are told what to write."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import syntax


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "localhost:0", "[::1]:443", "0.0.0.0:65535", "mcp.example.com:1", "unix:/run/proxy.sock"])
def test_addresses(text: str) -> None:
    assert syntax.listen_address(text) is None


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("8080", "HOST:PORT"), (":8080", "0.0.0.0:8080 for every interface"), ("http://127.0.0.1:80", "without a scheme"), ("::1:80", "in brackets"),
        ("[::g]:80", "IPv6 address in its brackets"), ("localhost:", "a port from 0"), ("localhost:65536", "a port from 0"), ("localhost:-1", "a port from 0"),
        ("localhost:٣", "a port from 0"), ("a b:80", "a host name"), ("", "HOST:PORT"), ("unix:relative.sock", "whole path"), ("unix:/a\0b", "whole path"),
    ],
)  # fmt: skip
def test_wrong_addresses_are_told_the_mend(text: str, mend: str) -> None:
    assert mend in (syntax.listen_address(text) or "")


@pytest.mark.parametrize("text", ["http://127.0.0.1:3000/mcp", "https://example.org", "http://[::1]:80/x?y=z", "HTTPS://Example.org/"])
def test_urls(text: str) -> None:
    assert syntax.url(text) is None


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("ftp://x/", "http or https"), ("http:///mcp", "with a host"), ("http://x:0/", "with a host"), ("http://x:99999/", "cannot be read"),
        ("http://user:pass@x/", "without user and password"), ("http://x/#a", "without a fragment"), ("http://x/ y", "without spaces"),
        ("http://x/\r\nHost: y", "without spaces"), ("http://ä/", "ASCII"), ("http://[::1/", "cannot be read"), ("example.org", "http or https"),
    ],
)  # fmt: skip
def test_wrong_urls_are_told_the_mend(text: str, mend: str) -> None:
    assert mend in (syntax.url(text) or "")


@given(st.text())
def test_a_good_url_cannot_break_a_head(text: str) -> None:
    """Whatever passes is written into request heads as it stands."""
    if syntax.url(f"http://x/{text}") is None:
        assert text.isascii()
        assert not set(text) & set("\r\n \t\0")


def test_a_proxy_may_ask_for_a_password() -> None:
    assert syntax.proxy("http://user:pass@proxy:3128") is None
    assert syntax.proxy("socks5://proxy") is not None
    assert syntax.proxy("unix:/x") is not None


@pytest.mark.parametrize(("text", "good"), [("/mcp", True), ("/", True), ("mcp", False), ("/a?b", False), ("/a#b", False), ("/a b", False), ("", False)])
def test_paths(text: str, good: bool) -> None:
    assert (syntax.path(text) is None) is good


def test_the_old_transport_may_be_switched_off() -> None:
    assert syntax.sse_path("") is None
    assert syntax.sse_path("sse") is not None


@pytest.mark.parametrize(("text", "good"), [("mcp.example.com", True), ("*", True), ("[::1]", True), ("::1", True), ("x:80", False), ("http://x", False), ("", False)])
def test_hosts(text: str, good: bool) -> None:
    assert (syntax.host(text) is None) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [("https://app.example.com", True), ("http://x:80", True), ("vscode-webview://abc", True), ("*", True), ("x.com", False), ("https://x/y", False),
     ("https://", False), ("null", False)],
)  # fmt: skip
def test_origins(text: str, good: bool) -> None:
    assert (syntax.origin(text) is None) is good


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [("X-Key", "a b\tc", None), ("X-Key", "", None), ("X-Key", "ä", None), ("X Key", "a", "no name of a header"), ("", "a", "no name of a header"),
     ("X", "a\r\nY: b", "a line break"), ("X", "a\0", "a line break"), ("X", "€", "no header can hold"), ("Host", "x", "itself writes"),
     ("Transfer-Encoding", "chunked", "itself writes"), ("Mcp-Session-Id", "x", "itself writes")],
)  # fmt: skip
def test_headers(name: str, value: str, wrong: str | None) -> None:
    found = syntax.header(name, value)
    assert found is None if wrong is None else wrong in (found or "")


@pytest.mark.parametrize(("name", "value", "good"), [("A", "b=c\n", True), ("", "b", False), ("A=", "b", False), ("A", "\0", False)])
def test_variables(name: str, value: str, good: bool) -> None:
    assert (syntax.variable(name, value) is None) is good


def test_nul_ends_every_text_too_early() -> None:
    assert syntax.argument("a\0b")
    assert syntax.directory("a\0b")
    assert syntax.directory("")
    assert syntax.file("a\0b")
    assert syntax.file("")
