"""Whether a text may hold a secret at all: asked of every message, so it must cost next to nothing. Pure code.

In: bytes or text, of a message or of a part of it. Out: False is certain, for all that `secret_names.py`, `secret_shapes.py` and `secret_prose.py` know.
Each question is one search in C for one letter, a rare one where there is a choice; what is at the letter is looked at only then. Escapes that
spell ASCII letters (`\\u0073k-`) are suspicious in themselves, at whatever depth of JSON within JSON.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shadowproxy.tape.redaction.secret_names import GAP, squeezed

_K: Final = re.compile(
    r"k(?:en(?!s)(?<=token)(?<!progresstoken)|ie(?<=cookie)"
    r"|ey(?:(?<=apikey)|(?<=api[-_ .]key)|(?<=accesskey)|(?<=access[-_ .]key)|(?<=privatekey)|(?<=private[-_ .]key)))"
).search
_P: Final = re.compile(f"p(?:ass{GAP}[wpc]|wd)").search
_B: Final = re.compile("b(?:earer|asic)").search
_C: Final = re.compile("c(?:redential|ret(?<=secret))").search
_DASH: Final = re.compile("-(?:(?<=sk-)|(?<=glpat-)|(?<=xox.-)|(?<=xapp-)|(?<=mcp-)session-id)").search
_LOW_LINE: Final = re.compile("_(?:(?<=gh[pousr]_)|(?<=pat_)|(?<=npm_)|(?<=hf_)|(?<=[sr]k_))").search
_HITS: Final = re.compile(
    r"k(?:en(?<=token)|ie(?<=cookie)|ia(?<=akia)|ey(?:(?<=apikey)|(?<=api[-_ .]key)|(?<=accesskey)|(?<=access[-_ .]key)|(?<=privatekey)|(?<=private[-_ .]key)))"
    rf"|p(?:ass{GAP}[wpc]|wd)|b(?:earer|asic)|c(?:redential|ret(?<=secret))|-(?:(?<=sk-)|(?<=glpat-)|(?<=xox.-)|(?<=xapp-)|(?<=mcp-)session-id)"
    rf"|_(?:(?<=gh[pousr]_)|(?<=pat_)|(?<=npm_)|(?<=hf_)|(?<=[sr]k_))|q(?=uest{GAP}state)|z(?:ation|a(?<=aiza))|j(?<=eyj)|@|\\(?=u00)|v(?<=\"v)(?=alue\")"
)


def bytes_suspicious(data: bytes) -> bool:
    """As `suspicious`. Characters beyond ASCII are not themselves in what is searched, which costs nothing and finds nothing."""
    return suspicious(str(data, "latin-1"), str(data.lower(), "latin-1"))


def suspicious(text: str, lowered: str) -> bool:
    """Of a text, as it is and in lower case."""
    return bool(
        _K(lowered) or _P(lowered) or _B(lowered) or _C(lowered)
        or ("-" in lowered and _DASH(lowered))
        or ("_" in lowered and _LOW_LINE(lowered))
        or ("q" in lowered and "state" in lowered and "request" in lowered)
        or ("z" in lowered and ("authorization" in lowered or "AIza" in text))
        or ("J" in text and "eyJ" in text)
        or ("K" in text and ("AKIA" in text or "PRIVATE KEY" in text))
        or ("@" in text and ("://" in text or "\\/" in text))
        or ("\\" in text and "\\u00" in text)
    )  # fmt: skip


def in_lower_case(text: str) -> str:
    """Lower case with every character in its place."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(character.lower() if character.isascii() else character for character in text)


def hits(lowered: str) -> Iterator[int]:
    """The places of all that is suspicious: whatever may be a secret, or the name of one, has one of them inside. So has a
    member `value`: whether it is secret, its object's `name` may say later."""
    return (match.start() for match in _HITS.finditer(lowered))


def mentions(lowered: str, names: tuple[str, ...]) -> bool:
    """Whether one of these squeezed names may be in a text, in whatever spelling."""
    bare = squeezed(lowered)
    return any(name in bare for name in names)
