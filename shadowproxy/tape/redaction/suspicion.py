r"""Where in a text something may be a secret: asked of every message, so it must cost next to nothing. Pure code.

In: bytes or text, of a message or of a part of it. Out: clues: a place, and what may be there: the `NAME` of a secret, an `OPTION` (`--token …`), a
member `VALUE` (whether it is secret, its object's `name` says), a `SPELLED` letter, the look of a shape (`secret_shapes.py`). Every secret has one in
it, or in its name: where there is no clue, there is no secret. Each question is one search in C for one letter, a rare one where there is a choice;
what is at the letter is looked at only then. Escapes that spell ASCII letters (`\u0073k-`) are clues in themselves, at whatever depth of JSON within JSON.
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from shadowproxy.tape.redaction.secret_names import ENDS, GAP, GAPS, KEYS

Clue: TypeAlias = tuple[int, str]
Hint: TypeAlias = "tuple[str, re.Pattern[str]]"
"""What is in every text that has it, as it is or in lower case; and a pattern, whose group names what may be there."""
NAME: Final = "name"
VALUE: Final = "value"
OPTION: Final = "option"
SPELLED: Final = "spelled"


def _hints(*patterns: str) -> tuple[Hint, ...]:
    """Each begins with its letter."""
    return tuple((pattern[0], re.compile(pattern)) for pattern in patterns)


def _alone(word: str, among: str = "[a-z0-9]") -> str:
    """What stands before the end of a word, if no such character is before it: that of an escape is none."""
    return rf"(?:(?<!{among}{word})(?<={word})|(?<=\\[nrtbf]{word})|(?<=\\u[0-9a-fA-F]{{4}}{word}))"


_SIGN: Final = rf"(?=s?{GAP}[0-9]{{0,3}}[ \t]*[\"'\\:=>])"
"""What is behind a name that names something: the end of its string, or a sign."""
_BLANK: Final = r"(?:[ \t]|\\+t)+"
_LOWERED: Final = (*_hints(
    rf"k(?=[ei_-])(?:(?P<name>(?:en(?!s)(?<=token)(?<!progresstoken)|ie(?<=cookie)|ey(?:{KEYS})){_SIGN})"
    rf"|(?P<sk>-{_alone('sk-')})|(?P<stripe>_(?<=[sr]k_)))",
    rf"p(?=[awm-])(?:(?P<name>(?:ass{GAP}(?:word|wd|phrase|code)|wd|-session-id(?<=mcp-session-id)){_SIGN})"
    r"|(?P<github>at_(?<=github_pat_))|(?P<gitlab>at-(?<=glpat-))|(?P<slack>-(?<=xapp-))|(?P<npm>m_(?<=npm_)))",
    rf"b(?P<bearer>earer{_BLANK}(?:\S{{8}}|\S{{0,6}}[0-9]))",
    rf"c(?=[r \t\\])(?:(?P<name>(?:redential|ret(?<=secret)(?:{GAP}key)?){_SIGN})|(?P<basic>(?<=basic){_BLANK}))",
    r"x(?P<slack>ox[a-z]-)",
    r"_(?:(?P<github>(?<=gh[pousr]_))|(?P<huggingface>(?<=hf_)))",
    rf"q(?P<name>uest{GAP}state{_SIGN})",
    rf"z(?=a)(?:(?P<name>ation(?<=authorization){_SIGN})|(?P<google>a{_alone('aiza', '[a-z0-9+/]')}))",
), ("-", re.compile(rf"-(?P<option>-(?:-?[^\s\"'=-]){{0,64}}?-?(?:{ENDS})s?[-_]?[0-9]{{0,3}}[ \t])")))  # fmt: skip
_EXACT: Final = (
    *_hints(rf"J(?P<jwt>{_alone('eyJ', '[A-Za-z0-9]')})(?=[\w-]{{5,256}}\.|[\w-]{{256}})", rf"K(?P<aws>IA{_alone('AKIA', '[A-Za-z0-9+/]')})"),
    *_hints(r"Y(?P<private_key>(?<=PRIVATE KEY))", r"\\(?P<spelled>(?=u00))"),
    ("@", re.compile(r":(?P<url>(?:\\*/){2}[^\s/?#\"'<>]*@)")),
)
_FURTHER: Final = _hints(
    r"9(?P<google_oauth>\.(?<=ya29\.))", r"p(?P<pypi>i-(?<=pypi-))", r"k(?P<azure>ey=(?<=accountkey=))", r"x(?P<model_key>ai-|-(?<=pplx-))",
    r"_(?:(?P<digitalocean>v1_(?<=do[opr]_v1_))|(?P<shopify>(?<=shp(?:at|ca|pa|ss)_))|(?P<model_key>(?<=gsk_)|(?<=r8_)))",
    r":(?P<telegram>(?<=[0-9]{8}:)[\w-]{35})", r"g(?P<signed_url>=(?<=[?&]sig=)|nature=)",
)  # fmt: skip
_FURTHER_EXACT: Final = _hints(r"S(?P<aws_temporary>IA(?<=ASIA))", r"X(?P<google_client>-(?<=GOCSPX-))", r"G(?P<sendgrid>\.(?<=SG\.))")
_VALUE: Final = re.compile(r"v(?P<value>alue\"(?<=\"value\"))")


class Suspicion:
    """What to look for: all that redaction knows, `further` shapes, and members of these names."""

    def __init__(self, names: Iterable[str] = (), *, further: bool = False) -> None:
        between = rf"(?:{GAPS}|\\)*"
        own = tuple((name[0], re.compile(f"(?P<name>{between.join(map(re.escape, name))})")) for name in names)
        self._lowered = (*_LOWERED, *own, *(_FURTHER if further else ()))
        self._exact = (*_EXACT, *(_FURTHER_EXACT if further else ()))

    def of_bytes(self, data: bytes) -> bool:
        """Whether there is a clue; False is certain. Characters beyond ASCII are not themselves in what is searched: nobody asks for them."""
        lowered = str(data.lower(), "latin-1")
        for sign, pattern in self._lowered:
            if sign in lowered and pattern.search(lowered):
                return True
        text = str(data, "latin-1")
        return any(sign in text and pattern.search(text) for sign, pattern in self._exact)

    def clues(self, text: str) -> list[Clue]:
        """All of them, in order."""
        lowered = in_lower_case(text)
        found = [*_found(lowered, self._lowered), *_found(text, self._exact)]
        if '"value"' in lowered and any(_may_name_a_value(lowered, *clue) for clue in found):
            found += ((match.start(), VALUE) for match in _VALUE.finditer(lowered))
        return sorted(found)


def _found(text: str, hints: Iterable[Hint]) -> Iterator[Clue]:
    return ((match.start(), match.lastgroup or "") for sign, pattern in hints if sign in text for match in pattern.finditer(text))


def _may_name_a_value(lowered: str, place: int, kind: str) -> bool:
    """Whether it is in the text that a member `name` or `key` has. Such names are short, and have no quotes."""
    if kind != NAME:
        return kind == SPELLED
    quote = max(0, lowered.rfind('"', max(0, place - 800), place))
    before = lowered[max(0, quote - 32) : quote].rstrip().removesuffix(":").rstrip()
    return before.endswith(('"name"', '"key"')) or (not before and quote > 0)  # who writes that many blanks is believed


def within(clues: Sequence[Clue], start: int, end: int) -> Sequence[Clue]:
    """Those between two places."""
    return clues[bisect_left(clues, (start,)) : bisect_left(clues, (end,))]


def moved(clues: Iterable[Clue], by: int) -> list[Clue]:
    return [(place + by, kind) for place, kind in clues]


def in_lower_case(text: str) -> str:
    """ASCII letters in lower case, every character in its place. What is beyond Latin-1 becomes a question mark, because nobody asks for it."""
    return str(text.encode("latin-1", "replace").lower(), "latin-1")
