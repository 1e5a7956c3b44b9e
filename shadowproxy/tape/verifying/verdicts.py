"""Verdicts: a recorded answer and a live one -> MATCH, or what became of it. Pure code.

In: two `Answer`s, each a message, or a refusal in its place. Out: a `Finding`, which names the exchange and tells the differences.
"""
from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from shadowproxy.errors import ProxyError, RequestCancelled, SpecError, UpstreamAnswered
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import Difference, Ignoring, differences
from shadowproxy.wire.jsonrpc import BadMessage, Message, text_of

Verdict: TypeAlias = Literal["MATCH", "CHANGED", "ERROR-SHAPE-CHANGED", "MISSING", "EXTRA"]
"""CHANGED: the same kind of answer with other words in it. ERROR-SHAPE-CHANGED: a result became an error, or an error a result or an error of another
code. MISSING: no answer, or not the message that was recorded. EXTRA: a message that nobody recorded."""
VERDICTS: Final[tuple[Verdict, ...]] = ("MATCH", "CHANGED", "ERROR-SHAPE-CHANGED", "MISSING", "EXTRA")
NAMED: Final = ("name", "uri", "level")
"""Members of `params` that tell one call of a method from another at a glance."""


@attrs.frozen
class Answer:
    """What ended an exchange: a response, or the name of what came in its place; `lost` when nothing came that one could call an answer."""

    value: Any = None
    refusal: str = ""
    status: int | None = None
    text: str = ""
    lost: bool = False

    @classmethod
    def of_message(cls, message: Message) -> Answer:
        return cls(msgspec.json.decode(message.encode()))

    @classmethod
    def of_frame(cls, frame: Frame) -> Answer:
        """A recorded response, refusal, or end of a stream."""
        if frame.kind == "response":
            return cls(frame.value())
        if frame.kind == "refusal":
            status = None if frame.http is None else frame.http.status
            spoken = frame.value()
            if frame.error == ProxyError.name and spoken is not None:  # the specification's own error, which the proxy only spoke for the server
                return cls(spoken)
            return cls(refusal=frame.error or "refused", status=status, text=frame.text or _text_in(spoken))
        return cls(refusal=frame.kind, text=frame.error or frame.text or "", lost=True)

    @classmethod
    def of_error(cls, error: ProxyError) -> Answer:
        """What the upstream raised."""
        if isinstance(error, SpecError):
            return cls({"error": {"code": error.rpc_code, "message": error.message, "data": dict(error.data or {})}})
        return cls(refusal=error.name, status=error.http_status, text=error.message, lost=not isinstance(error, UpstreamAnswered))

    @property
    def cancelled(self) -> bool:
        return self.refusal in ("cancelled", RequestCancelled.name)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What a client would branch on."""
        if self.refusal:
            return ("refused", self.refusal, self.status if self.refusal == UpstreamAnswered.name else None)
        error = self.value.get("error")
        if error is not None:
            return ("error", error.get("code") if isinstance(error, dict) else None)
        result = self.value.get("result")
        return ("tool error",) if isinstance(result, dict) and result.get("isError") is True else ("result",)

    def __str__(self) -> str:
        if self.refusal:
            return f"{self.refusal}{f' ({self.status})' if self.status else ''}{f': {self.text}' if self.text else ''}"
        kind, *code = self.shape
        return f"{kind} {code[0]}: {_text_in(self.value)}" if code else f"a {kind}"


def _text_in(value: Any) -> str:
    error = value.get("error") if isinstance(value, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""


@attrs.frozen(kw_only=True)
class Finding:
    """One verdict. `what`: an exchange, or a message of the server's in it. `n`: of the frame that it is about, None if nobody recorded one."""

    verdict: Verdict
    label: str
    what: Literal["exchange", "notification", "request"] = "exchange"
    session: str | None = None
    exchange: int | None = None
    n: int | None = None
    other: int | None = None  # the same, in the other of two tapes
    seconds: float = 0.0
    reason: str = ""
    differences: tuple[Difference, ...] = ()

    @property
    def place(self) -> str:
        """Where it is in the tape, in words."""
        parts = (("frame", self.n), ("frame of the other", self.other), ("exchange", self.exchange), ("session", self.session))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


@attrs.define
class Tally:
    """How many of each; `messages` of the server's that came as recorded, `unjudged` requests that have no answer in the tape, `lost` frames of gaps."""

    counts: dict[Verdict, int] = attrs.field(factory=lambda: dict.fromkeys(VERDICTS, 0))
    messages: int = 0
    unjudged: int = 0
    lost: int = 0

    @property
    def findings(self) -> int:
        return sum(self.counts.values())


def judge(recorded: Answer, live: Answer, ignoring: Ignoring, method: str | None) -> tuple[Verdict, str, tuple[Difference, ...]]:
    """The verdict, why, and what differs."""
    if recorded.cancelled:  # whether an answer was faster than the cancellation is a matter of luck
        return ("MATCH", "", ()) if live.cancelled or not live.lost else ("MISSING", str(live), ())
    if live.lost and not recorded.refusal:
        return "MISSING", str(live), ()
    if recorded.shape != live.shape:
        return "ERROR-SHAPE-CHANGED", f"recorded: {recorded}; now: {live}", _apart(recorded, live, ignoring, method)
    if recorded.refusal:
        return "MATCH", "", ()
    found = tuple(differences(recorded.value, live.value, ignoring, method))
    return ("CHANGED", "", found) if found else ("MATCH", "", ())


def _apart(recorded: Answer, live: Answer, ignoring: Ignoring, method: str | None) -> tuple[Difference, ...]:
    return () if recorded.refusal or live.refusal else tuple(differences(recorded.value, live.value, ignoring, method))


def label_of(message: Message) -> str:
    """The method, and what it is about: `tools/call echo`."""
    try:
        params = message.params()
    except BadMessage:
        params = {}  # a list
    named = next((text for name in NAMED if name in params and (text := text_of(params[name])) is not None), None)
    return message.method or "" if named is None else f"{message.method} {named}"
