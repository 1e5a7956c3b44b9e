"""A tape as one HTML page that plays it: list, timeline, filter, details, play and pause. No server, no network.

In: a header and rows. Out: the page's bytes, a piece at a time, so that its size does not matter here (a browser takes some hundred megabytes). The
messages are JSON in blocks that no script runs; `<` is spelled \\u003c in them, so no message can end its block. The page's own policy allows its
script and its style by their hashes and nothing else: no request, no other script. The page is `player.html`, `player.css`, `player*.js`.
"""
from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Final

import msgspec

from shadowproxy.tape.frame import Header
from shadowproxy.tape.viewing.row_json import row_json
from shadowproxy.tape.viewing.rows import Row

BLOCK: Final = 500
"""Rows of one block."""


def page(title: str, header: Header, rows: Iterable[Row]) -> Iterator[bytes]:
    """The page."""
    script, style = _part("player_filter.js") + _part("player.js"), _part("player.css")
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{_part('player.html')}"
    ).encode()
    yield b'<script type="application/json" id="header">' + _safe(msgspec.json.encode(header)) + b"</script>\n"
    rest = iter(rows)
    while block := list(islice(rest, BLOCK)):
        yield b'<script type="application/json" class="rows">\n' + _safe(b"\n".join(map(row_json, block))) + b"\n</script>\n"
    yield f"<script>{script}</script>\n</body>\n</html>\n".encode()


def _safe(data: bytes) -> bytes:
    """JSON without any `<`: there is none but in strings, where it may be spelled otherwise."""
    return data.replace(b"<", b"\\u003c")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _part(name: str) -> str:
    return files("shadowproxy.tape.exchanging").joinpath(name).read_text(encoding="utf-8")
