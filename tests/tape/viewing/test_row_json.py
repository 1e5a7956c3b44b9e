"""A row as a line of JSON: the frame as on the tape, byte for byte where it was a message, and what is known of its exchange."""
from __future__ import annotations

import json

from tapes import request, response

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.viewing.row_json import row_json
from shadowproxy.tape.viewing.rows import rows
from shadowproxy.wire.jsonrpc import Raw


def test_what_a_row_tells() -> None:
    first, second = rows([request(1, "tools/call", {"name": "echo"}), response(2, 1, error={"code": -1, "message": "no"})])
    assert json.loads(row_json(first)).keys() == {"frame", "method", "tool"}
    told = json.loads(row_json(second))
    assert {name: told[name] for name in told if name != "frame"} == {"method": "tools/call", "tool": "echo", "duration": 0.1, "error": "no"}


def test_a_message_stays_as_it_was_spelled() -> None:
    spelled = b'{"jsonrpc":"2.0", "id":12345678901234567890,"method":"\\u0061" ,"params":{"a":1e400,"a":2}}'
    (row,) = rows([Frame(n=1, t=0.0, dir="c2s", kind="request", message=Raw(spelled))])
    line = row_json(row)
    assert spelled in line
    assert b"\n" not in line
