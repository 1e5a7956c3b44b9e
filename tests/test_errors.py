"""The table of errors: no two alike, none that could be taken for the peer's own, all with words for the client."""
from __future__ import annotations

import inspect

import pytest

from shadowproxy import errors
from shadowproxy.errors import ConfigError, Overloaded, ProxyError, SpecError, UpstreamAnswered, UpstreamExited

OURS: list[type[ProxyError]] = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ProxyError) and kind not in (SpecError, UpstreamAnswered)]
RESERVED = range(-32768, -31999)
"""JSON-RPC's and MCP's own codes (2026-07-28, basic/index.mdx, "Error Codes")."""


def test_all_are_here() -> None:
    assert len(OURS) >= 14


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
def test_codes_lie_outside_what_is_reserved(kind: type[ProxyError]) -> None:
    assert kind.code not in RESERVED
    assert UpstreamAnswered.code not in RESERVED


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
def test_status_is_one_of_http_and_the_name_says_the_class(kind: type[ProxyError]) -> None:
    assert kind.status == 200 or 400 <= kind.status < 600
    words = "".join(part.title() for part in kind.name.split("_"))
    assert words == kind.__name__


def test_codes_and_names_are_unique() -> None:
    every: list[type[ProxyError]] = [*OURS, UpstreamAnswered]
    assert len({kind.code for kind in every}) == len(every)
    assert len({kind.name for kind in every}) == len(every)


def test_the_payload_has_the_stable_name_and_whatever_is_known() -> None:
    assert UpstreamExited("the server exited", {"status": 3}).payload() == {"name": "upstream_exited", "status": 3}
    assert Overloaded("full").payload() == {"name": "overloaded"}


def test_one_failure_may_have_a_status_of_its_own() -> None:
    error = Overloaded("full")
    assert (error.http_status, error.rpc_code, str(error), error.message) == (503, 1101, "full", "full")
    assert Overloaded("full", status=429).http_status == 429
    assert Overloaded.status == 503


def test_who_is_turned_away_is_told_when_to_come_back() -> None:
    assert Overloaded("full").headers() == ((b"retry-after", b"1"),)
    assert ProxyError("no").headers() == ()


def test_an_error_of_the_specification_has_its_code_and_no_name_of_ours() -> None:
    error = SpecError(400, -32022, "Unsupported protocol version", {"supported": []})
    assert (error.http_status, error.rpc_code, error.payload()) == (400, -32022, {"supported": []})
    assert SpecError(400, -32700, "not JSON").payload() == {}


@pytest.mark.parametrize(("body", "words"), [
    (b"", "the upstream answered HTTP 401"),
    (b"no token", "the upstream answered HTTP 401: no token"),
    (b"x" * 5000, "the upstream answered HTTP 401: " + "x" * 200),
    (b"\xff", "the upstream answered HTTP 401: \ufffd"),
])  # fmt: skip
def test_a_refusal_in_http_is_kept_as_it_came_and_shown_in_short(body: bytes, words: str) -> None:
    error = UpstreamAnswered(401, [(b"www-authenticate", b"Bearer")], body)
    assert (str(error), error.body, error.fields) == (words, body, [(b"www-authenticate", b"Bearer")])
    assert (error.http_status, error.payload()) == (401, {"name": "upstream_refused", "status": 401})


def test_a_wrong_setting_is_no_answer_to_a_client() -> None:
    assert not issubclass(ConfigError, ProxyError)
