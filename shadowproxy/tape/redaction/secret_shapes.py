"""Secrets that are known by their looks, wherever they stand in a text. Pure code.

In: a text. Out: where secrets stand in it, and by which rule. A token that already stands for a secret is never looked into, and what stands
between two findings is searched as a text of its own: so redacting what is redacted changes nothing. `secret_prose.py` knows names with values.
"""
from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from shadowproxy.tape.redaction.secret_prose import assigned
from shadowproxy.tape.redaction.suspicion import Clue, Suspicion, moved, within

Span: TypeAlias = tuple[int, int, str]
"""From, to, the rule's name."""

TOKEN: Final = re.compile(r"\[REDACTED:[a-z0-9-]{1,40}:[0-9a-f]{16}\]")
"""What stands for a secret: which rule replaced it, and a hash of it by a key."""


@attrs.frozen
class Shape:
    """One look. The first group is the secret, or else the whole match. `clue`: the kind of clue that is in all that matches; None: it may be anywhere.

    Patterns begin with letters where they can, and look back from behind these, because that is searched for ten times as fast."""

    name: str
    clue: str | None
    pattern: re.Pattern[str]
    check: Callable[[str], bool] = bool

    def spans(self, text: str) -> Iterator[Span]:
        group = 1 if self.pattern.groups else 0
        for match in self.pattern.finditer(text):
            if self.check(match[group]):
                yield (*match.span(group), self.name)


def _is_basic(text: str) -> bool:
    """Whether it is a user and a password, not the word that follows "basic" in prose."""
    bare = text.rstrip("=")
    try:
        return b":" in base64.b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return False


def _shape(name: str, pattern: str, check: Callable[[str], bool] = bool, *, clue: str | None = None) -> Shape:
    return Shape(name, clue or name.replace("-", "_"), re.compile(pattern, re.ASCII), check)


_BASE64: Final = "[A-Za-z0-9+/=]"
_REST: Final = rf"(?<!{_BASE64})(?<!{_BASE64}\n)(?<!{_BASE64}\r\n){_BASE64}{{16,80}}\r?\n(?:{_BASE64}{{1,80}}\r?\n){{0,400}}+-----END [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
"""Whole lines of a private key that begins elsewhere, such as in another item of a result."""
_CLOSE: Final = r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
_PROSE: Final = r"(?!(?i:tokens?|auth|authentication|authorization|schemes?|headers?|format|credentials?|prefix)\b|(?:realm|scope|charset|error\w*|resource_metadata|authorization_uri|client_id)=)"
"""What follows the word "bearer" and is no credential: prose, and the parameters of a challenge."""

SHAPES: Final[Sequence[Shape]] = (
    _shape("private-key", rf"-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?{_CLOSE}"),
    _shape("private-key", _REST),
    _shape("bearer", rf"[Bb](?i:earer)[ \t]+{_PROSE}((?:[A-Za-z._~+/-]{{0,200}}\d[\w.~+/-]*+|[\w.~+/-]{{8,}}+)=*+)"),
    _shape("basic", r"[Bb](?i:asic)[ \t]+([A-Za-z0-9+/]{4,}+={0,2})", _is_basic),
    _shape("jwt", r"eyJ(?<![\w-]eyJ)[\w-]{5,}+(?:\.[\w-]*+){2,4}"),
    _shape("sk", r"sk-(?<![A-Za-z0-9]sk-)[\w-]{16,}+"),
    _shape("stripe", r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_[A-Za-z0-9]{10,}+"),
    _shape("github", r"g(?:h[pousr]|ithub_pat)_[A-Za-z0-9]\w{15,}+"),
    _shape("slack", r"x(?:ox[a-z]|app)-[A-Za-z0-9-]{10,}+"),
    _shape("aws", r"AKIA(?<![A-Za-z0-9+/]AKIA)[A-Z0-9]{16}(?![A-Za-z0-9+/])"),
    _shape("google", r"AIza(?<![A-Za-z0-9+/]AIza)[\w-]{35,}+(?![+/])"),
    _shape("gitlab", r"glpat-[\w.-]{16,}+"),
    _shape("npm", r"npm_(?<![A-Za-z0-9]npm_)[A-Za-z0-9]{16,}+"),
    _shape("huggingface", r"hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{16,}+"),
    _shape("url", r":(?<=[A-Za-z0-9+.-]:)//[^\s/?#@\"'<>:\\]{0,256}:([^\s/?#\"'<>\\]{1,1024})@"),
)
"""What redaction knows. Each has its clue in `suspicion.py`, or it is never asked for."""

FURTHER: Final[Sequence[Shape]] = (
    _shape("aws-temporary", r"ASIA(?<![A-Za-z0-9+/]ASIA)[A-Z0-9]{16}(?![A-Za-z0-9+/])"),
    _shape("google-oauth", r"ya29\.[\w-]{20,}+"),
    _shape("google-client", r"GOCSPX-[\w-]{20,}+"),
    _shape("sendgrid", r"SG\.(?<![A-Za-z0-9]SG\.)[\w-]{16,}\.[\w-]{16,}+"),
    _shape("pypi", r"pypi-[\w-]{50,}+"),
    _shape("digitalocean", r"do[opr]_v1_[0-9a-f]{40,}+"),
    _shape("shopify", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    _shape("model-key", r"(?<![A-Za-z0-9])(?:gsk_|xai-|r8_|pplx-)[A-Za-z0-9]{24,}+"),
    _shape("azure", r"(?i:AccountKey=)([A-Za-z0-9+/]{40,}={0,2})"),
    _shape("telegram", r"(?<!\d)\d{8,10}:[\w-]{35}(?![\w-])"),
    _shape("signed-url", r"(?:[?&]sig|X-(?:Amz|Goog)-Signature)=([\w%-]{32,}+)"),
    _shape("url-user", r":(?<=[A-Za-z0-9+.-]:)//([\w-]{20,}+)@", clue="url"),
)
"""What `tape scan` looks for besides: rarer, so not worth a look at every message that passes."""


def gaps(text: str, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What lies between spans that are in order and apart."""
    position = 0
    for start, end in spans:
        if position < start:
            yield position, start
        position = end
    if position < len(text):
        yield position, len(text)


def united(spans: Iterable[Span]) -> list[Span]:
    """In order; those that overlap are one, by the rule of the first (of the longest, if they begin together)."""
    found: list[Span] = []
    for start, end, rule in sorted(spans, key=lambda span: (span[0], -span[1])):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]), found[-1][2])
        else:
            found.append((start, end, rule))
    return found


def spans_of(text: str, shapes: Sequence[Shape], prose: bool = True, clues: Sequence[Clue] | None = None) -> list[Span]:
    """Every secret in the text, in order and apart; `prose`: values with names too. `clues`: what is known of it; None: a secret could be anywhere."""
    found: list[Span] = []
    pieces = list(gaps(text, (match.span() for match in TOKEN.finditer(text))))
    while pieces:
        start, end = pieces.pop()
        own = None if clues is None else within(clues, start, end)
        if own is not None and not own:
            continue
        piece = text[start:end]
        kinds = None if own is None else {kind for _, kind in own}
        spans = united(span for shape in shapes if kinds is None or shape.clue in kinds for span in shape.spans(piece))
        if prose:
            spans = united([*spans, *assigned(piece, _EVERY.clues(piece) if own is None else moved(own, -start))])
        found += ((start + a, start + b, rule) for a, b, rule in spans)
        if spans:
            pieces += ((start + a, start + b) for a, b in gaps(piece, ((a, b) for a, b, _ in spans)))
    return sorted(found)


_EVERY: Final = Suspicion()
