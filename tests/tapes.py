"""Tapes for tests, made by hand: frames by small builders, files as a recorder writes them.

    write_tape(tmp_path / "a.jsonl", [request(1, "tools/list", id=1), response(2, re=1, id=1, result={"tools": []})])

Members that many frames share may be given as `**s1`; so no builder tells their types.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shadowproxy.tape.frame import Frame, Header, Kind, encode_frames, encode_header
from shadowproxy.wire.jsonrpc import Raw

ORIGIN = 1_790_000_000.0
HEADER = Header(tool="shadowproxy test", python="3.11", origin=ORIGIN, upstream="https://server.example/mcp")
ABSENT: Any = object()


def raw(value: Any) -> Raw:
    """As JSON, compact and with its characters as they are."""
    return Raw(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def message(kind: Kind, n: int, dir: Any, members: dict[str, Any], **rest: Any) -> Frame:
    """A frame with this JSON-RPC message; its time is a tenth of a second a frame unless `t` says otherwise."""
    members = {"jsonrpc": "2.0", **{name: value for name, value in members.items() if value is not ABSENT}}
    rest = {"t": round(n / 10, 6), "method": members.get("method"), "id": raw(members["id"]) if "id" in members else None, **rest}
    return Frame(n=n, dir=dir, kind=kind, wall=round(ORIGIN + rest["t"], 6), message=raw(members), **rest)


def request(n: int, method: str, params: Any = ABSENT, *, id: Any = 1, dir: Any = "c2s", **rest: Any) -> Frame:
    """A client's request, of an exchange with its number unless told otherwise; with `dir="s2c"` a server's."""
    return message("request", n, dir, {"id": id, "method": method, "params": params}, **{"exchange": n, **rest})


def response(n: int, re: int, *, id: Any = 1, result: Any = ABSENT, error: Any = ABSENT, dir: Any = "s2c", **rest: Any) -> Frame:
    """The answer to the request with the number `re`."""
    if result is ABSENT and error is ABSENT:
        result = {}
    return message("response", n, dir, {"id": id, "result": result, "error": error}, **{"exchange": re, "re": re, **rest})


def notification(n: int, method: str, params: Any = ABSENT, *, dir: Any = "s2c", **rest: Any) -> Frame:
    return message("notification", n, dir, {"method": method, "params": params}, **rest)


def happening(n: int, kind: Kind, *, dir: Any = "s2c", t: Any = None, **rest: Any) -> Frame:
    """A frame that need not have a message: open, close, refusal, cancelled, end, about, event, gap."""
    t = round(n / 10, 6) if t is None else t
    return Frame(n=n, t=t, dir=dir, kind=kind, wall=round(ORIGIN + t, 6), **rest)


def tape_bytes(frames: Iterable[Frame], header: Header = HEADER) -> bytes:
    return encode_header(header) + encode_frames(frames)


def write_tape(path: Path, frames: Iterable[Frame], header: Header = HEADER) -> Path:
    path.write_bytes(tape_bytes(frames, header))
    return path
