"""A row as one line of JSON: what `--json` prints, and what the page of `export --format html` holds. Pure code.

    {"frame":{…as on the tape…},"method":"tools/call","tool":"echo","duration":0.12}
"""
from __future__ import annotations

from typing import Final

import msgspec

from shadowproxy.tape.viewing.rows import Row

_encode: Final = msgspec.json.Encoder().encode


def row_json(row: Row) -> bytes:
    """Without a line end."""
    return _encode(row)
