"""The settings of a recording: what is meant by a path, and what cannot be meant."""
from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config import InvalidConfig, Record, load
from shadowproxy.errors import ConfigError


@pytest.mark.parametrize(("path", "per_session"), [("a.jsonl", False), ("tapes", True), ("tapes/", True), ("/var/tapes/all.jsonl", False), ("a.jsonl/", True)])
def test_a_name_tells_a_file_from_a_directory(path: str, per_session: bool) -> None:
    assert Record(path=path).per_session is per_session


def test_by_default_secrets_are_replaced_and_traffic_is_never_slowed() -> None:
    record = Record(path="a.jsonl")
    assert (record.redaction, record.durability, record.compress, record.rotate_size, record.rotate_age, record.keep) == ("default", "lossy", False, None, None, None)


@pytest.mark.parametrize(("settings", "what"), [
    ({"path": ""}, "path"), ({"path": "a\0b"}, "path"), ({"path": 7}, "path"),
    ({"redaction": "some"}, "redaction"), ({"durability": "strict"}, "durability"), ({"compress": 1}, "compress"),
    ({"rotate_size": 0}, "rotate_size"), ({"rotate_size": 1.5}, "rotate_size"), ({"rotate_age": 0}, "rotate_age"), ({"rotate_age": float("inf")}, "rotate_age"),
    ({"keep": 0}, "keep"), ({"buffer": 0}, "buffer"), ({"buffer": True}, "buffer"),
    ({"redact_keys": "pin"}, "redact_keys"), ({"redact_keys": ("",)}, "redact_keys"), ({"redact_pointers": ("params/pin",)}, "redact_pointers"),
    ({"redact_patterns": ("(",)}, "redact_patterns"), ({"redact_patterns": (".*",)}, "redact_patterns"),
])  # fmt: skip
def test_what_cannot_be_meant_is_named(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Record(**{"path": "a.jsonl", **settings})


def test_from_a_file() -> None:
    text = """
        [upstream]
        command = ["server"]
        [record]
        path = "tapes"
        redact_keys = ["pin"]
        redact_pointers = ["/params/arguments/*/secret"]
        redact_patterns = ["[0-9]{16}"]
        rotate_size = 1000000
        rotate_age = 3600
        keep = 3
        compress = true
        durability = "complete"
        buffer = 1000000
    """
    assert load(text).record == Record(
        path="tapes", redact_keys=("pin",), redact_pointers=("/params/arguments/*/secret",), redact_patterns=("[0-9]{16}",), rotate_size=1_000_000, rotate_age=3600.0, keep=3,
        compress=True, durability="complete", buffer=1_000_000)  # fmt: skip


@pytest.mark.parametrize(("line", "what"), [("", "record.path: is missing: it says where tapes go"), ('path = "a"\nkep = 3', "did you mean 'keep'"), ('path = ["a"]', "record.path")])
def test_a_file_that_cannot_be_meant(line: str, what: str) -> None:
    with pytest.raises(InvalidConfig, match=what):
        load(f'[upstream]\ncommand = ["server"]\n[record]\n{line}\n')
