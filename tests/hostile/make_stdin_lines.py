"""Rows of `stdin_lines`: what a client writes to `forward`, and what it reads.

A row: `lines`; `out`, what is said, in any order (`hostile.memory_client.in_words`); `reached`, the methods that the upstream is asked, and `told` those
of the notifications that it is sent. A last request, with the id "last", is answered properly in any case; then the input ends. Each is written whole
and byte by byte.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostile.make_child_lines import note
from hostile.make_messages import BAD_UTF8, GOOD_UTF8, INVALID, META, NOT_JSON, NOT_VALUES, PARAMS, PARSE, VALUES
from hostile.make_messages_more import BAD_IDS, GOOD_IDS
from hostile.rows import Part, Row

LINE_LIMIT = 10_000
OVERLOADED = 1101


def row(family: str, name: str, lines: str | list[Part], out: list[list[Any]], reached: list[str] | None = None, told: list[str] | None = None, **more: Any) -> Row:
    parts: list[Part] = [lines] if isinstance(lines, str) else lines
    return {"family": family, "name": f"{family}: {name}", "lines": parts, "out": out, "reached": reached or [], "told": told or [], **more}


def ask(id: str = "1", method: str = "x", more: str = "") -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"method":"{method}"{more}}}\n'


ASK = ask()
DONE: list[list[Any]] = [["1", "result"]]


def refused(family: str, name: str, lines: str | list[Part], code: int, id: str = "null", count: int = 1) -> Row:
    return row(family, name, lines, [[id, code]] * count)


def garbage() -> Iterator[Row]:
    for text in NOT_JSON:
        if not text.isspace() and text and text != '"\n"':
            yield refused("garbage", repr(text[:50]), text.replace("\n", " ") + "\n", PARSE)
    for text in ("0x10", "1_000", '"a" "b"', "0", "-1", "1.5", '"a"', "null", "true", '""', " 1 "):
        yield refused("garbage", f"no object: {text!r}", text + "\n", INVALID)
    for text in ("", " ", "\t", "\r", " \t ", "\x0b", "\x0c"):
        yield row("garbage", f"blank: {text!r}", (text + "\n") * 3, [])
    for value in NOT_VALUES:
        if "\n" not in value:
            yield refused("garbage", f"within: {value!r}", ask(more=f',"params":{{"a":{value}}}'), PARSE)
    for value in [*VALUES, *(f'"{text}"' for text in GOOD_UTF8)]:
        yield row("garbage", f"good: {value[:50]!r}", ask(more=f',"params":{{"a":{value}}}'), DONE, ["x"])
    for text in BAD_UTF8:
        yield refused("garbage", f"encoding {text!r}", ask(more=f',"params":{{"a":"{text}"}}'), PARSE)
    for end in ("\r\n", " \n", "\t\n", " \r\n", "\n\n", "\n\r\n\n"):
        yield row("garbage", f"{end!r} for an end", ASK[:-1] + end, DONE, ["x"])
    yield refused("garbage", "\\r for an end", ASK[:-1] + "\r" + ASK, PARSE)
    yield refused("garbage", "two on a line", ASK[:-1] + ASK, PARSE)
    yield refused("garbage", "one on two lines", '{"jsonrpc":"2.0",\n"id":1,"method":"x"}\n', PARSE, count=1) | {"out": [["null", PARSE], ["null", INVALID]]}
    yield refused("garbage", "headers as of another protocol", f"Content-Length: {len(ASK)}\n\n", PARSE)
    yield row("garbage", "a thousand lines", [["garbage\n", 1000]], [["null", PARSE]] * 1000)
    yield row("garbage", "fifty thousand empty lines", [["\n", 50_000]], [])


def sizes() -> Iterator[Row]:
    empty = len(ask(more=',"params":{"a":""}')) - 1
    for size in (LINE_LIMIT - 1, LINE_LIMIT):
        yield row("sizes", f"a line of {size}", ask(more=',"params":{"a":"%s"}' % ("x" * (size - empty))), DONE, ["x"])
    for size in (LINE_LIMIT + 1, 10 * LINE_LIMIT, 100 * LINE_LIMIT):
        yield refused("sizes", f"a line of {size}", [ask(more=',"params":{"a":"')[:-2], ["x", size - empty], '"}}\n'], INVALID)
        yield refused("sizes", f"garbage of {size}", [["x", size], "\n"], INVALID)
        yield row("sizes", f"a line of {size} among others", [ASK, ["x", size], "\n", ask("2")], [["1", "result"], ["2", "result"], ["null", INVALID]], ["x", "x"])
    for opening in ("[", '{"a":'):
        for depth in (100, 400):
            yield row("sizes", f"{depth} {opening} deep", ask(more=f',"params":{{"a":{opening * depth}0{("]" if opening == "[" else "}") * depth}}}'), DONE, ["x"])
        for depth in (1100, 1900):
            yield refused("sizes", f"{depth} {opening} deep", ask(more=f',"params":{opening * depth}'), PARSE)
            yield refused("sizes", f"{depth} {opening} deep, alone", opening * depth + "\n", PARSE)
    for count in (100, 1500):
        yield row("sizes", f"{count} requests at once", [[ASK, count]], DONE * count, ["x"] * count)
        yield row("sizes", f"{count} notifications at once", [[note("y"), count]], [], [], ["y"] * count)


def ids() -> Iterator[Row]:
    for id in GOOD_IDS:
        yield row("ids", f"{id[:40]}", ask(id), [[id, "result"]], ["x"])
    for id in BAD_IDS:
        yield refused("ids", f"bad {id[:40]}", ask(id), INVALID)
    yield row("ids", "the same twice", ASK * 2, DONE * 2, ["x", "x"])
    yield row("ids", "1 and its string", ASK + ask('"1"'), [["1", "result"], ['"1"', "result"]], ["x", "x"])
    yield row("ids", "two in one, the last counts", '{"jsonrpc":"2.0","id":5,"method":"y","id":1,"method":"x"}\n', DONE, ["x"])
    yield row("ids", "answers to nothing", '{"jsonrpc":"2.0","id":1,"result":{}}\n{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}\n', [], [], ["None", "None"])


def members() -> Iterator[Row]:
    for text in ("{}", '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":1}', '{"id":1,"method":"x"}', '{"jsonrpc":"1.0","id":1,"method":"x"}', '{"jsonrpc":2.0,"id":1,"method":"x"}', '{"jsonrpc":"2.0","id":1,"method":1}',
                 '{"jsonrpc":"2.0","id":1,"method":null}', '{"jsonrpc":"2.0","id":1,"method":{}}', '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', '{"jsonrpc":"2.0","id":1,"Method":"x"}'):  # fmt: skip
        yield refused("members", text, text + "\n", INVALID)
    for params in ("[]", "1", '"a"', "null", "true"):
        yield row("members", f"params {params}", ask(more=f',"params":{params}'), DONE, ["x"])
    yield row("members", "modern", ask(more=f',"params":{{{META}}}'), DONE, ["x"])
    yield row("members", "both eras by turns", ASK + ask("2", more=f',"params":{{{META}}}') + ask("3"), [["1", "result"], ["2", "result"], ["3", "result"]], ["x"] * 3)
    for meta in ("1", "[]", "null", '"a"'):
        yield row("members", f"_meta {meta}", ask(more=f',"params":{{"_meta":{meta}}}'), DONE, ["x"])
    yield row("members", "a version in the wrong place", ask(more=',"params":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'), DONE, ["x"])
    yield refused("members", "params of no kind that name a version", ask(more=',"params":["io.modelcontextprotocol/protocolVersion"]'), PARAMS, "1")


def batches() -> Iterator[Row]:
    one, two = ASK[:-1], ask("2")[:-1]
    yield row("batches", "of one", f"[{one}]\n", DONE, ["x"])
    yield row("batches", "of two", f" [ {one} , {two} ] \n", [["1", "result"], ["2", "result"]], ["x", "x"])
    yield row("batches", "with a notification", f"[{note('y')[:-1]},{one}]\n", DONE, ["x"], ["y"])
    for text, code in (("[]", INVALID), ("[1]", INVALID), ("[[]]", INVALID), (f"[[{one}]]", INVALID), ("[null]", INVALID), (f"[{one},1]", INVALID), ("[", PARSE), (f"[{one}", PARSE), (f"[{one},]", PARSE), (f"[{one}]]", PARSE), ("[\xff]", PARSE)):
        yield refused("batches", f"bad {text[:40]!r} {len(text)}", text + "\n", code)
    for id in ("null", "1.5", "{}"):
        yield row("batches", f"a bad id {id} among good ones", f"[{ask(id)[:-1]},{one}]\n", [["null", INVALID], ["1", "result"]], ["x"])
    yield refused("batches", "of 1100", ["[", ["1,", 1099], "1]\n"], INVALID)


def cancellations() -> Iterator[Row]:
    """A legacy server is told of each that names a request by an id, whether we know it or not; of a modern one's end its connection tells."""
    method = "notifications/cancelled"

    def of(id: str) -> str:
        return note(method, f'{{"requestId":{id}}}')

    for id in ("7", '"1"', "null", "1.0", "[]", "{}", "true", '"' + "x" * 2000 + '"'):
        yield row("cancellations", f"of nothing, {id[:20]}", of(id), [], [])
        yield row("cancellations", f"of nothing in a session, {id[:20]}", [ASK, None, of(id)], DONE, ["x"], [method] if id in ("7", '"1"') else [])
    for params in ("{}", "[]", "1", "null", '"x"', "true"):
        yield row("cancellations", f"with params {params}", ASK + note(method, params), DONE, ["x"])
    yield row("cancellations", "with none", ASK + note(method), DONE, ["x"])
    yield row("cancellations", "of a request", [ask("1", "hang"), None, of("1")], [], ["hang"], [method])
    yield row("cancellations", "of a modern one", [ask("1", "hang", f',"params":{{{META}}}'), None, of("1")], [], ["hang"])
    yield row("cancellations", "twice", [ask("1", "hang"), None, of("1"), None, of("1")], [], ["hang"], [method] * 2)
    yield row("cancellations", "of another with the same spelling", [ask('"1"', "hang"), None, of("1"), None, of('"1"')], [], ["hang"], [method] * 2)
    yield row("cancellations", "of one that is answered", [ASK, None, of("1")], DONE, ["x"], [method])
    yield row("cancellations", "of the newer of two", [ask("1", "hang"), None, ASK, None, ask("1", "hang"), None, of("1"), None, of("1")], [["1", OVERLOADED], *DONE], ["hang", "x", "hang"], [method] * 2)
    # The elder of two with one id cannot be named any more; it is told at the end of the input that it will not be answered.


def handshakes() -> Iterator[Row]:
    hello = ask("1", "initialize", ',"params":{"protocolVersion":"2025-11-25","capabilities":{}}')
    ready = note("notifications/initialized")
    yield row("handshakes", "one", [hello, None, ready], DONE, ["initialize"], ["notifications/initialized"])
    yield row("handshakes", "without waiting", hello + ready + ask("2"), [["1", "result"], ["2", "result"]], ["initialize", "x"], ["notifications/initialized"])
    for count in (2, 3, 100):
        yield row("handshakes", f"{count} times ready", hello + ready * count, DONE, ["initialize"], ["notifications/initialized"] * count)
        yield row("handshakes", f"{count} times hello", hello * count + ready, DONE * count, ["initialize"] * count, ["notifications/initialized"])
        yield row("handshakes", f"{count} handshakes", (hello + ready) * count, DONE * count, ["initialize"] * count, ["notifications/initialized"] * count)
    yield row("handshakes", "ready before hello", ready + hello, DONE, ["initialize"], ["notifications/initialized"])
    yield row("handshakes", "ready alone", ready, [], [], ["notifications/initialized"])
    yield row("handshakes", "ready with an id", ask("1", "notifications/initialized"), DONE, ["notifications/initialized"])
    yield row("handshakes", "hello as a notification", note("initialize"), [], [], ["initialize"])


def stdin_lines() -> Iterator[Row]:
    for family in (handshakes, garbage, sizes, ids, members, batches, cancellations):
        yield from family()
