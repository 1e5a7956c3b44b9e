"""Settings from the command line and from a file, into one `Config`: the command line wins.

In: option values (None: not given), a file's name, the target. Out: a `Config`. Raises `ConfigError` with one clear line per fault.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shadowproxy.config import Config, read, structure
from shadowproxy.errors import ConfigError


def settle(file: str | None, target: str | None, command: Sequence[str], options: dict[str, Any]) -> Config:
    """`options` maps a setting's path ("timeouts.request") to its value; None leaves it to the file, and the file to the default."""
    settings = {} if file is None else _read(file)
    for path, value in options.items():
        if value is not None:
            _put(settings, path.split("."), value)
    upstream = settings.setdefault("upstream", {})
    if target is not None and command:
        raise ConfigError("give either a URL or a command after --, not both")
    if target is not None:
        upstream.pop("command", None)
        upstream["url"] = _url(target)
    elif command:
        upstream.pop("url", None)
        upstream["command"] = list(command)
    elif not upstream.get("url") and not upstream.get("command"):
        raise ConfigError("no upstream: give a URL, or a command after --, as in: shadowproxy forward -- my-server --flag")
    return structure(settings, file or "the command line")


def _url(target: str) -> str:
    if target.startswith(("http://", "https://", "unix:")):
        return target
    raise ConfigError(f"{target!r} is neither a URL nor an option; a command goes after --, as in: shadowproxy forward -- {target}")


def _read(name: str) -> dict[str, Any]:
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--config {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--config {name}: it is not UTF-8 text") from None
    return read(text, name)


def _put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    *tables, key = path
    for table in tables:
        settings = settings.setdefault(table, {})
    if isinstance(value, dict):
        settings[key] = {**settings.get(key, {}), **value}
    else:
        settings[key] = value


def pairs(option: str, values: Sequence[str] | None) -> dict[str, str] | None:
    """NAME=VALUE texts as a mapping. Raises `ConfigError` for one without "="."""
    if not values:
        return None
    found = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"{option} {text}: it has the form NAME=VALUE")
        found[name] = value
    return found
