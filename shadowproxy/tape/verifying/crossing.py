"""Crossing: the messages that a tape says a server sends, and those that the live one does send, paired whichever comes first. Pure code.

In: expected messages as they are read, arrived ones as they come. Out: pairs. Exactly equal ones are paired at once, in whatever order; what
is left over is paired by method when all is over (`settle`), a request of the server sooner, because it waits for its answer (`pair_changed`, `give_up`).
Bounded: past `MOST` on a side the oldest is given up.
"""
from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from shadowproxy.tape.matching.jsondiff import Ignoring, canonical, differences
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw

MOST: Final = 1000
Kind: TypeAlias = tuple[bool, str | None, bytes]


@attrs.define(eq=False)
class Expected:
    """One that was recorded, at frame `n`, on the stream of `exchange`. `waived`: nobody waits for it any longer, though it may still come."""

    message: Message
    n: int
    exchange: int | None
    waived: bool = False
    kind: Kind = attrs.field(init=False, default=attrs.Factory(lambda self: _kind(self.message), takes_self=True))
    digest: bytes = b""


@attrs.define(eq=False)
class Arrived:
    message: Message
    exchange: int | None
    kind: Kind = attrs.field(init=False, default=attrs.Factory(lambda self: _kind(self.message), takes_self=True))
    digest: bytes = b""


class Crossing:
    """`paired(expected, arrived)` is called for each pair, and for what nobody was found for, with None in its place."""

    def __init__(self, ignoring: Ignoring, paired: Callable[[Expected | None, Arrived | None], None]) -> None:
        self._ignoring, self._paired = ignoring, paired
        self.expected: list[Expected] = []
        self.arrived: list[Arrived] = []

    def expect(self, one: Expected) -> None:
        one.digest = self._digest(one.message)
        for arrived in self._candidates(self.arrived, one):
            if self._same(one, arrived):
                return self._pair(one, arrived)
        self.expected.append(one)
        if len(self.expected) > MOST:
            self._pair(self.expected[0], None)

    def arrive(self, one: Arrived) -> None:
        one.digest = self._digest(one.message)
        for expected in self._candidates(self.expected, one):
            if self._same(expected, one):
                return self._pair(expected, one)
        self.arrived.append(one)
        if len(self.arrived) > MOST:
            self._pair(None, self.arrived[0])

    def behind(self) -> bool:
        """Whether fewer messages of some method have come than were recorded so far, and are still waited for."""
        if not self.expected:
            return False
        missing = Counter(one.kind for one in self.expected if not one.waived)
        missing.subtract(one.kind for one in self.arrived)
        return any(count > 0 for count in missing.values())

    def waive(self) -> None:
        for one in self.expected:
            one.waived = True

    def pair_changed(self, exchange: int | None) -> None:
        """All that was recorded of this exchange is expected by now, so a request of the server in it that equals none of that is one in other words."""
        for arrived in [one for one in self.arrived if one.message.is_request and one.exchange == exchange]:
            changed = next((one for one in self._candidates(self.expected, arrived) if one.exchange == exchange), None)
            if changed is not None:
                self._pair(changed, arrived)

    def give_up(self, one: Arrived) -> bool:
        """It has waited long enough: whether it is one in other words; else nobody recorded it."""
        changed = next(self._candidates(self.expected, one), None)
        self._pair(changed, one)
        return changed is not None

    def settle(self, within: Callable[[Expected | Arrived], bool] = lambda _: True) -> None:
        """It is over for those `within`: pair what is left by method, in order; the rest is missing or extra."""
        for expected in [one for one in self.expected if within(one)]:
            self._pair(expected, next((one for one in self._candidates(self.arrived, expected) if within(one)), None))
        for arrived in [one for one in self.arrived if within(one)]:
            self._pair(None, arrived)

    def _candidates(self, side: list[Any], other: Expected | Arrived) -> Any:
        return (one for one in side if one.kind == other.kind)

    def _same(self, expected: Expected, arrived: Arrived) -> bool:
        if expected.digest == arrived.digest:
            return True
        old = expected.message.encode()
        return b"[REDACTED:" in old and not differences(msgspec.json.decode(old), value_of(arrived.message), self._ignoring, arrived.message.method, 1)

    def _digest(self, message: Message) -> bytes:
        return hashlib.blake2b(canonical(value_of(message), self._ignoring, message.method), digest_size=16).digest()

    def _pair(self, expected: Expected | None, arrived: Arrived | None) -> None:
        if expected in self.expected:
            self.expected.remove(expected)
        if arrived in self.arrived:
            self.arrived.remove(arrived)
        self._paired(expected, arrived)


def value_of(message: Message) -> Any:
    return msgspec.json.decode(message.encode())


def _kind(message: Message) -> Kind:
    """What must be equal for two messages to be the same one in other words: of progress, whose it is."""
    try:
        token = message.params().get("progressToken") if message.method == "notifications/progress" else None
    except BadMessage:
        token = None  # no parameters that could be looked at
    return message.is_request, message.method, bytes(token) if isinstance(token, Raw) else b""
