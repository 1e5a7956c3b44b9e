"""What fuzzing begins with: the inputs of the corpus, and the words of each protocol.

In: a target's name. Out: seeds, words, and `mutated`, which makes a new input of them with any source of randomness.
"""
from __future__ import annotations

from functools import cache
from random import Random

from hostile import http2
from hostile.rows import rows, whole

LONGEST = 3000
"""Bytes of a seed: longer rows are about sizes, which have rows of their own."""
HTTP = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b": ", b" ", b"\t", b"0\r\n\r\n", b"1\r\n", b"content-length: ", b"content-length: 1\r\n", b"transfer-encoding: chunked\r\n", b"host: x\r\n", b"connection: close\r\n",
        b"expect: 100-continue\r\n", b"upgrade: h2c\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"POST / HTTP/1.1\r\nhost: x\r\n", b";a=b", b",", b"\x00", b"\xff", b"\x0b", b"-1", b"ffffffff"]  # fmt: skip
JSON = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'"jsonrpc":"2.0"', b'"id":', b'"id":1,', b'"method":"x"', b'"params":{', b'"_meta":{', b'"result":{}', b'"error":{"code":1,"message":""}', b"null", b"true", b"-0", b"1e400",
        b"NaN", b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b" ", b"\n", b"\r", b'"io.modelcontextprotocol/protocolVersion":"2026-07-28"', b'"io.modelcontextprotocol/clientCapabilities":{}',
        b'"name":"a"', b'"arguments":{"a":"x","n":1.0,"o":{"b":true}}', b'"progressToken":1', b"[" * 200]  # fmt: skip
EVENTS = [b"data: ", b"data:", b"data", b"id: ", b"id: 1\n", b"retry: 5\n", b"event: x\n", b"event: message\n", b":", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\x00", b" ", b"\xe2\x80\xa8", b"x" * 300]
WORDS = {"http_server": HTTP, "http2": http2.WORDS, "http_client": [*HTTP, *EVENTS, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 X\r\n\r\n", b"content-type: text/event-stream\r\n"], "json_rpc": JSON, "event_stream": [*EVENTS, *JSON[:8]],
         "lines": [b"\n", b"\r", b"\r\n", b" ", b"\t", b"x" * 500, b"\x0b", b"\x00"], "header_values": [b"=?base64?", b"?=", b"YWRk", b"=", b" ", b"\t", b"\xc3\xa9", b"\xff", b"\r", b"\n", b"\x00"]}  # fmt: skip
TABLE = {"http_server": ("http_requests", "send"), "http_client": ("http_responses", "answer"), "json_rpc": ("messages", "body"), "lines": ("child_lines", "lines")}


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Each input once, in the order of the corpus."""
    if target == "event_stream":
        bodies = [body for body in seeds("http_client") if b"text/event-stream" in body]
        return tuple(dict.fromkeys([b"", *(body.partition(b"\r\n\r\n")[2] for body in bodies), b"data: {}\n\n", b"id: 1\ndata: a\ndata: b\nretry: 5\n\n"]))
    if target == "http2":
        return tuple(http2.begun())
    if target == "header_values":
        return (b"", b"add", b"=?base64?YWRk?=", b" a ", "\u65e5\u672c".encode())
    table, column = TABLE[target]
    found = [whole(row[column]) for row in rows(table) if sum(len(part) if isinstance(part, str) else len(part[0]) * part[1] for part in row[column] if part) <= LONGEST]
    if target == "http_server":
        found = [data.replace(b"/mcp", b"/") for data in found]
    return tuple(dict.fromkeys(found))


def mutated(target: str, random: Random) -> bytes:
    """A seed with a few changes."""
    data = bytearray(random.choice(seeds(target)))
    words = WORDS[target]
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 5, 8))):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((0, 0, 1, 1, 2, 4, 16, 64)))
        match random.randint(0, 5):
            case 0:
                data[start:end] = b""
            case 1:
                data[start:end] = random.choice(words)
            case 2:
                data[start:end] = bytes(random.randint(0, 255) for _ in range(random.randint(1, 3)))
            case 3:
                data[start:start] = data[start:end] * random.randint(1, 4)
            case 4:
                other = random.choice(seeds(target))
                place = random.randint(0, len(other))
                data[start:end] = other[place : place + random.choice((4, 20, 100, 3000))]
            case _:
                if start < len(data):
                    data[start] ^= 1 << random.randint(0, 7)
    return bytes(data[: 2 * LONGEST])


def cuts(random: Random) -> list[int]:
    """Places to cut at."""
    return [random.randint(0, 2 * LONGEST) for _ in range(random.choice((0, 1, 2, 3, 10, 200)))]
