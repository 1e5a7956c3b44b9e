"""Settings from TOML, whose keys mirror the classes; everything that is wrong is found in one reading.

In: text (`load`), or what TOML made of it (`structure`). Out: one `Config`, or `ConfigError` with a line for every fault, which names the
key's path and the mend. No I/O. cattrs is imported when the first document is read: it costs 20 ms of a start, which embedding need not pay.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import attrs

from shadowproxy.config.recording import Record
from shadowproxy.config.replaying import Replay
from shadowproxy.config.rules import WrongValue, choose, did_you_mean, shown
from shadowproxy.config.settings import Config, Limits, Log, Timeouts, Tls, Upstream
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from cattrs import Converter

MISSING: Mapping[tuple[str | int, ...], str] = {
    ("upstream",): "is missing: it says which server stands behind the proxy, by its url or its command",
    ("tls", "cert"): "is missing: TLS needs a certificate and its key; give both",
    ("record", "path"): "is missing: it says where tapes go, a file or a directory",
    ("tls", "key"): "is missing: TLS needs a certificate and its key; give both",
}
"""What to say of a setting that has no default."""
_SCALARS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


@attrs.frozen
class Fault:
    """One thing that is wrong with a document, and where: ("upstream", "env", "DEBUG")."""

    path: tuple[str | int, ...]
    what: str

    def __str__(self) -> str:
        return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path) + f": {self.what}"


class InvalidConfig(ConfigError):
    """All that is wrong with a document, one line a fault."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
        self.faults = tuple(faults)


def load(text: str, source: str = "configuration") -> Config:
    """A `Config` from TOML. `source`, a file's name, begins each line of a `ConfigError`."""
    return structure(read(text, source), source)


def read(text: str, source: str = "configuration") -> dict[str, Any]:
    """The bare document. Raises `ConfigError` with line and column where it is no TOML."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None


def structure(document: Mapping[str, Any], source: str = "configuration") -> Config:
    """A `Config` from a document. Raises `InvalidConfig` with all that is wrong."""
    try:
        return _converter().structure(document, Config)
    except Exception as error:
        raise InvalidConfig(source, tuple(_faults(error, ()))) from None


# --- strict structuring: cattrs of itself would make 5 of "5", and the list of its letters of a string

@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True)
    for kind, words in _SCALARS.items():
        converter.register_structure_hook(kind, _scalar(kind, words))
    converter.register_structure_hook_func(_made_of(tuple), _array)
    converter.register_structure_hook_func(_made_of(Literal), _choice)
    converter.register_structure_hook_factory(_made_of(Mapping), lambda kind: _mapping(converter, kind))
    for section in (Upstream, Limits, Timeouts, Tls, Record, Replay, Log, Config):
        converter.register_structure_hook(section, _section(converter, section))
    return converter


def _made_of(origin: object) -> Callable[[Any], bool]:
    return lambda kind: bool(get_origin(kind) == origin)


def _scalar(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def hook(value: object, _: object) -> object:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise WrongValue("", f"must be {words}, not {shown(value)}")

    return hook


def _array(value: object, _: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        example = repr(str(value)).replace("'", '"') if not isinstance(value, list) else '"a", "b"'
        raise WrongValue("", f"must be an array of strings, such as [{example}], not {shown(value)}")
    return tuple(value)


def _choice(value: object, kind: object) -> object:
    if value not in get_args(kind):
        raise WrongValue("", choose(get_args(kind), value))
    return value


def _mapping(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    from cattrs.cols import mapping_structure_factory

    return _table(mapping_structure_factory(kind, converter))


def _table(hook: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The same hook, for nothing but tables."""

    def checked(value: object, kind: object) -> object:
        if not isinstance(value, Mapping):
            raise WrongValue("", f"must be a table, not {shown(value)}")
        return hook(value, kind)

    return checked


def _section(converter: Converter, section: type) -> Callable[[Any, Any], Any]:
    """Each setting is validated when it is read, so that one wrong setting does not hide the next."""
    from cattrs.gen import make_dict_structure_fn, override

    attrs.resolve_types(section)
    hooks: Any = {a.name: override(struct_hook=_validated(converter, a)) for a in attrs.fields(section)}
    return _table(make_dict_structure_fn(section, converter, _cattrs_forbid_extra_keys=True, **hooks))


def _validated(converter: Converter, attribute: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
    def hook(value: object, _: object) -> object:
        made = converter.structure(value, attribute.type)  # type: ignore[arg-type]  # resolved above
        if attribute.validator is not None:
            attribute.validator(None, attribute, made)
        return made

    return hook


# --- what went wrong, as paths

def _faults(error: BaseException, path: tuple[str | int, ...]) -> Iterator[Fault]:
    from cattrs.errors import AttributeValidationNote, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, bare = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, (*path, note.name if isinstance(note, AttributeValidationNote) else note.index))
        for inner in bare:
            yield from _faults(inner, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        for key in sorted(error.extra_fields):
            hint = did_you_mean(key, known) or f" (known are {', '.join(known)})"
            yield Fault((*path, key), f"unknown key{hint}")
    elif isinstance(error, WrongValue):
        yield Fault(path if error.name in ("", *path[-1:]) else (*path, error.name), error.what)
    elif isinstance(error, KeyError):
        yield Fault(path, MISSING.get(path, "is missing; give it a value"))
    else:
        raise error
