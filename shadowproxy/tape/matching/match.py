"""When are two requests the same? The canonical form of a request, and what a redacted one may stand for. Pure code.

In: requests, live ones and recorded ones. Out: a `Wanted` of each, whose digests are equal where the requests are. docs/replay.md has the rules for users:
the method and the params count; keys have no order, numbers count by value, what `ignore` points at does not count, and what was redacted
when it was recorded counts by its token.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from shadowproxy.tape.matching.jsondiff import Ignoring, canonical
from shadowproxy.tape.redaction.secret_shapes import TOKEN
from shadowproxy.wire.jsonrpc import Message

Same: TypeAlias = Callable[[str, str], bool]
"""Whether a token of a redaction stands for this text."""

IGNORED: Final = ("/params/_meta", "initialize:/params/clientInfo", "initialize:/params/capabilities")
"""Beside what the settings name. `_meta` holds progress tokens, trace ids, and in the modern era who the client is."""
SAFE: Final = frozenset({"initialize", "ping", "server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "logging/setLevel"})
"""Methods that may be asked again at any time: with `repeats` "safe" their last recorded answer is given again."""
UNTIMELY: Final = frozenset({"ping"})
"""They come when a clock says so, and so have no place in any order."""
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


@attrs.frozen
class Wanted:
    """A request as it is compared. `params`: what counts of its params, as JSON in the one form that they all have."""

    method: str
    digest: int
    params: bytes

    @property
    def loose(self) -> bool:
        """Whether it holds tokens, so that equal digests are not the only way to match."""
        return b"[REDACTED:" in self.params

    def value(self) -> Any:
        try:
            return _decode(self.params)
        except (msgspec.MsgspecError, RecursionError):
            return None


def anything(token: str, text: str) -> bool:
    """Without the key of a tape's tokens, a token stands for whatever is asked."""
    return True


class Matching:
    """`ignore` as in the settings. `redact` makes of a live message what the recorder made of a recorded one; `same` judges a single token."""

    def __init__(self, ignore: Sequence[str] = (), redact: Callable[[bytes], bytes] | None = None, same: Same = anything) -> None:
        self.ignoring = Ignoring.parse((*IGNORED, *ignore), wild=False)
        self._redact, self._same = redact, same

    def live(self, request: Message) -> Wanted:
        """A request that has just come."""
        data = request.encode()
        wanted = self.recorded(request.method or "", data)
        if self._redact is not None and (redacted := self._redact(data)) is not data:
            return attrs.evolve(wanted, digest=self.recorded(wanted.method, redacted).digest)
        return wanted

    def recorded(self, method: str, message: bytes) -> Wanted:
        """A request as it stands on the tape."""
        try:
            value = _decode(message)
            params = value.get("params") if type(value) is dict else None
            form = canonical({"params": {} if params is None else params}, self.ignoring, method)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            form = message  # too deep, or a number beyond all bounds: the same if it is the same text
        return Wanted(method, int.from_bytes(blake2b(b"%b\0%b" % (method.encode(), form), digest_size=8).digest(), "big"), form)

    def equal(self, recorded: Wanted, live: Wanted) -> bool:
        """Whether a recorded request, which may have tokens, stands for this live one."""
        if recorded.method != live.method:
            return False
        return recorded.digest == live.digest or (recorded.loose and self._stands_for(recorded.value(), live.value()))

    def _stands_for(self, recorded: Any, live: Any) -> bool:
        if isinstance(recorded, str):
            return recorded == live or self._text_stands_for(recorded, live if isinstance(live, str) else _encode(live).decode())
        if isinstance(recorded, dict) and isinstance(live, dict):
            return recorded.keys() == live.keys() and all(self._stands_for(value, live[name]) for name, value in recorded.items())
        if isinstance(recorded, list) and isinstance(live, list):
            return len(recorded) == len(live) and all(map(self._stands_for, recorded, live))
        return type(recorded) is type(live) and bool(recorded == live)

    def _text_stands_for(self, recorded: str, live: str) -> bool:
        tokens = TOKEN.findall(recorded)
        if not tokens:
            return False
        found = re.fullmatch("(.*)".join(map(re.escape, TOKEN.split(recorded))), live, re.DOTALL)
        return found is not None and all(map(self._same, tokens, found.groups()))
