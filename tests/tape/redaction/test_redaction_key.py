"""The key: from the environment, or made once and kept where nobody else can read it."""
from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shadowproxy.errors import ConfigError
from shadowproxy.tape.redaction.redaction_key import SIZE, VARIABLE, default_key, key_file


def test_the_environment_goes_first(tmp_path: Path) -> None:
    assert default_key({VARIABLE: "sixteen bytes ok", "XDG_STATE_HOME": str(tmp_path)}) == b"sixteen bytes ok"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["", "short", "fifteen bytes.."])
def test_a_key_that_can_be_guessed_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="openssl rand"):
        default_key({VARIABLE: value})


def test_a_key_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    key = default_key(environment)
    assert len(key) == SIZE
    assert default_key(environment) == key
    file = tmp_path / "state" / "shadowproxy" / "redaction.key"
    assert file.read_bytes() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["redaction.key"]
    assert default_key({"XDG_STATE_HOME": str(tmp_path / "other")}) != key


def test_a_key_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    default_key(environment)
    os.chmod(key_file(environment), 0o644)
    default_key(environment)
    assert stat.S_IMODE(key_file(environment).stat().st_mode) == 0o600


def test_two_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: default_key(environment), range(8)))
    assert len(keys) == 1


def test_a_broken_file_says_so(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    key_file(environment).parent.mkdir()
    key_file(environment).write_bytes(b"x")
    with pytest.raises(ConfigError, match="holds no key: remove it"):
        default_key(environment)


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "shadowproxy").write_text("a file where a directory should be")
    with pytest.raises(ConfigError, match=f"set {VARIABLE}"):
        default_key({"XDG_STATE_HOME": str(tmp_path)})


def test_where_it_is_kept() -> None:
    assert key_file({"XDG_STATE_HOME": "/state", "HOME": "/home/x"}) == Path("/state/shadowproxy/redaction.key")
    assert key_file({"XDG_STATE_HOME": "relative", "HOME": "/home/x"}) == Path("/home/x/.local/state/shadowproxy/redaction.key")
