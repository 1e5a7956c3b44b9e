"""Looks: each rule finds what it is for, at its exact place, and nothing that only begins like it."""
from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import looks, prose

from shadowproxy.tape.redaction.secret_shapes import FURTHER, SHAPES, gaps, spans_of, united

A40 = "a1B2" * 10
EXAMPLES = {
    "private-key": "-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----", "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-_1", "sk": "sk-ant-api03-" + A40,
    "stripe": "rk_test_" + A40, "github": "ghs_" + A40, "slack": "xoxp-123-456-abc", "aws": "AKIAIOSFODNN7EXAMPLE", "google": "AIza" + A40[:35], "gitlab": "glpat-" + A40[:20],
    "npm": "npm_" + A40, "huggingface": "hf_" + A40,
    "aws-temporary": "ASIAIOSFODNN7EXAMPLE", "google-oauth": "ya29." + A40, "google-client": "GOCSPX-" + A40, "sendgrid": f"SG.{A40[:22]}.{A40}", "pypi": "pypi-" + A40 * 2,
    "digitalocean": "dop_v1_" + "0a" * 32, "shopify": "shpat_" + "0a" * 16, "model-key": "gsk_" + A40, "telegram": "123456789:" + A40[:35],
}  # fmt: skip


@pytest.mark.parametrize("rule", EXAMPLES)
@pytest.mark.parametrize("frame", ["@", "see @, then", '"@"', "(@)", "a\n@\nb", "key=@"])
def test_each_is_found_where_it_is(rule: str, frame: str) -> None:
    text = frame.replace("@", EXAMPLES[rule])
    start = frame.index("@")
    assert (start, start + len(EXAMPLES[rule]), rule) in spans_of(text, (*SHAPES, *FURTHER), False)


@pytest.mark.parametrize(("text", "secret"), [
    ("Authorization: Bearer abc.def-1", "abc.def-1"), ("bearer  0123", "0123"), ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"), ("basic dXNlcjpwYXM=", "dXNlcjpwYXM="),
    ("postgres://u:p%40s@h/db", "p%40s"), ("redis://:pw@h", "pw"), ('"Bearer YWJjZGVmZw=="', "YWJjZGVmZw=="), ("…\nMIIEowIBAAKCAQEA\nzz==\n-----END RSA PRIVATE KEY-----\n", "MIIEowIBAAKCAQEA\nzz==\n-----END RSA PRIVATE KEY-----"),
    ("https://h/x?sig=" + A40 + "&y=1", A40), ("X-Amz-Signature=" + "0a" * 32, "0a" * 32), ("https://" + A40 + "@h/1", A40), ("AccountKey=" + A40 + "==;x", A40 + "=="),
])  # fmt: skip
def test_of_some_only_a_part_is_secret(text: str, secret: str) -> None:
    assert [text[start:end] for start, end, _ in spans_of(text, (*SHAPES, *FURTHER), False)] == [secret]


@pytest.mark.parametrize("text", [
    "basic information", "Basic c29tZXRoaW5n", "a bearer token", "Bearer authentication", "Bearer of news", 'Bearer realm="host1"', 'Bearer error_description="no1"', "task-force-of-many-people",
    "sk-learn", "https://host:8080/a@b", "https://user@host/", "http://[::1]:80/", "AKIAIOSFODNN7EXAMPLES", "xAKIAIOSFODNN7EXAMPLE", "eyJhbGciOi", "ghp_short",
    "-----BEGIN PUBLIC KEY-----", "[REDACTED:sk:0123456789abcdef]", "Bearer [REDACTED:bearer:0123456789abcdef]",
])  # fmt: skip
def test_what_is_no_secret(text: str) -> None:
    assert spans_of(text, SHAPES, False) == []


@given(looks | prose)
def test_every_example_of_a_secret_is_found(secret: object) -> None:
    text = getattr(secret, "text", "")
    assert any(getattr(secret, "core", "?") in text[start:end] for start, end, _ in spans_of(text, SHAPES))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5), st.sampled_from("ab")).map(lambda span: (span[0], span[0] + span[1], span[2]))))
def test_united_spans_cover_the_same_and_are_apart(spans: list[tuple[int, int, str]]) -> None:
    one = united(spans)
    assert {place for start, end, _ in one for place in range(start, end)} == {place for start, end, _ in spans for place in range(start, end)}
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(one))
    between = list(gaps("x" * 30, ((start, end) for start, end, _ in one)))
    assert sum(end - start for start, end in between) + sum(end - start for start, end, _ in one) == 30
