"""Settings from the command line and from a file, into one `Config`: the command line wins.

In: option values (None: not given), a file's name, the target. Out: a `Config`. Raises `ConfigError` with one clear line per fault.
"""
from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from shadowproxy.config import Config, Fault, InvalidConfig, read, structure
from shadowproxy.errors import ConfigError

NAMES = {
    "allowed_hosts": "--allow-host", "allowed_origins": "--allow-origin", "tls.cert": "--tls-cert", "tls.key": "--tls-key",
    "tls.client_ca": "--tls-client-ca", "upstream.http2": "--upstream-http2", "upstream.headers": "--header",
    "record.path": "--record", "timeouts.request": "--request-timeout", "timeouts.drain": "--drain-timeout", "log.level": "--log-level", "log.format": "--log-format",
}  # fmt: skip
"""Options that are not named for the last part of their setting's path."""


def settle(file: str | None, target: str | None, command: Sequence[str], options: dict[str, Any]) -> Config:
    """`options` maps a setting's path ("timeouts.request") to its value; None leaves it to the file, and the file to the default."""
    settings = {} if file is None else _read(file)
    for path, value in options.items():
        if value is not None:
            _put(settings, path.split("."), value)
    upstream = settings.setdefault("upstream", {})
    if not isinstance(upstream, dict):
        raise ConfigError(f"{file}: $.upstream: must be a table, not {upstream!r}")
    if target is not None and command:
        raise ConfigError("give either a URL or a command after --, not both")
    if target is not None:
        upstream.pop("command", None)
        upstream["url"] = _url(target)
    elif command:
        upstream.pop("url", None)
        upstream["command"] = list(command)
    elif not upstream.get("url") and not upstream.get("command") and not upstream.get("tape"):
        raise ConfigError("no upstream: give a URL, or a command after --, as in: shadowproxy forward -- my-server --flag")
    try:
        config = structure(settings, file or "")
    except InvalidConfig as error:
        given = {path for path, value in options.items() if value is not None}
        raise ConfigError("\n".join(_told(fault, given, file) for fault in error.faults)) from None
    if config.upstream.cwd is not None and not Path(config.upstream.cwd).is_dir():
        raise ConfigError(f"{_option('upstream.cwd')} {config.upstream.cwd}: there is no such directory; create it, or correct the path")
    return config


def _told(fault: Fault, given: Collection[str], file: str | None) -> str:
    """A fault in the words of whoever made it: an option's name, or the file's and the path in it."""
    parts = [str(part) for part in fault.path]
    for length in range(len(parts), 0, -1):
        if (path := ".".join(parts[:length])) in given:
            return f"{_option(path)}: {fault.what}"
    return f"{file}: {fault}" if file is not None else f"{'.'.join(parts)}: {fault.what}"


def _option(path: str) -> str:
    return NAMES.get(path) or f"--{path.rpartition('.')[2].replace('_', '-')}"


def _url(target: str) -> str:
    if is_url(target):
        return target
    raise no_url("forward", [target])


def is_url(text: str) -> bool:
    """Whether it was meant for one; whether it is a good one is up to the settings."""
    return "://" in text or text.startswith("unix:")


def no_url(verb: str, words: Sequence[str]) -> ConfigError:
    """What to say of words that look like a command."""
    return ConfigError(f"{words[0]!r} is not a URL; a command and its arguments go after --, as in: shadowproxy {verb} -- {shlex.join(words)}")


def _read(name: str) -> dict[str, Any]:
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--config {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--config {name}: it is not UTF-8 text") from None
    return read(text, name)


def _put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    """Where the file has no table, nothing can be put: reading it will say so."""
    *tables, key = path
    for table in tables:
        settings = settings.setdefault(table, {})
        if not isinstance(settings, dict):
            return
    old = settings.get(key, {})
    if not isinstance(value, dict):
        settings[key] = value
    elif isinstance(old, dict):
        # Headers know no case, so an option replaces the file's however that is written.
        fresh = {name.lower() for name in value} if key == "headers" else set(value)
        settings[key] = {**{name: text for name, text in old.items() if (name.lower() if key == "headers" else name) not in fresh}, **value}


def pairs(option: str, values: Sequence[str] | None) -> dict[str, str] | None:
    """NAME=VALUE texts as a mapping. Raises `ConfigError` for one without "="."""
    if not values:
        return None
    found = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"{option} must be NAME=VALUE, not {name!r}")
        found[name] = value
    return found
