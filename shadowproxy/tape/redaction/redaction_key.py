"""The key of the tokens that stand for secrets. With it equal secrets give equal tokens; without it a token says nothing of its secret.

In: the environment, or a file in the user's state directory, made at first use and readable by nobody else. Out: bytes.
"""
from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shadowproxy.errors import ConfigError

VARIABLE: Final = "SHADOWPROXY_REDACTION_KEY"
LEAST: Final = 16
"""Bytes of a key: with fewer, somebody who has the tape could guess it, and then the secrets."""
SIZE: Final = 32


def default_key(environment: Mapping[str, str] = os.environ) -> bytes:
    """The key of this user. Raises `ConfigError` for one that is too short, and if the file can neither be read nor made."""
    given = environment.get(VARIABLE)
    if given is not None:
        if len(given.encode()) < LEAST:
            raise ConfigError(f"{VARIABLE} is too short to protect anything: give it {LEAST} bytes or more, as `openssl rand -hex 32` makes them")
        return given.encode()
    path = key_file(environment)
    try:
        return _read(path) or _make(path)
    except OSError as error:
        raise ConfigError(f"the key for redaction at {path}: {error.strerror}; make the place writable, or set {VARIABLE}") from None


def key_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the key is kept. A relative $XDG_STATE_HOME is ignored, as its specification demands."""
    state = environment.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path(environment.get("HOME") or Path.home()) / ".local" / "state"
    return home / "shadowproxy" / "redaction.key"


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            key = file.read(1024)
    except FileNotFoundError:
        return None
    if len(key) < LEAST:
        raise ConfigError(f"{path} holds no key: remove it, and a new one will be made (tokens of older tapes will not compare with new ones)")
    return key


def _make(path: Path) -> bytes:
    """A new key, there in one step, so that of two processes that start at once one wins and both use the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its key is ours
    finally:
        os.unlink(draft)
    key = _read(path)
    assert key is not None
    return key
