"""Rows of `messages`: bodies POSTed to a proxy with a stdio server behind it, whose HTTP duties the proxy does.

A row: `body`; `fields`, its header fields, in which `$2025-11-25` is the id of a session of that revision; `status`; `messages`, of each the id as it
is spelled and "result" or the code of its error; `reached`, the lines that the server is sent, `$ID` for the proxy's own id. What is expected is what
JSON-RPC 2.0, RFC 8259 and the revisions of MCP say.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hostile.rows import Part, Row

MODERN, LEGACY, BATCHING = "2026-07-28", "2025-11-25", "2025-03-26"
META = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
KIND = ("content-type", "application/json")
Fields = Sequence[tuple[str, str]]
PARSE, INVALID, UNKNOWN_METHOD, PARAMS, MISMATCH, UNSUPPORTED = -32700, -32600, -32601, -32602, -32020, -32022
SESSION_UNKNOWN, SESSION_MISSING, FORBIDDEN, UNSERVED = 1201, 1202, 1203, 1204


def legacy_fields(version: str = LEGACY) -> Fields:
    return (KIND, ("mcp-session-id", f"${version}"), ("mcp-protocol-version", version))


def modern_fields(method: str, name: str | None = None, version: str = MODERN) -> Fields:
    return (KIND, ("mcp-protocol-version", version), ("mcp-method", method), *([] if name is None else [("mcp-name", name)]))


def row(family: str, name: str, body: str | list[Part], fields: Fields, status: int, messages: list[list[Any]], reached: list[str] | None = None) -> Row:
    parts: list[Part] = [body] if isinstance(body, str) else body
    return {"family": family, "name": f"{family}: {name}", "body": parts, "fields": [list(field) for field in fields], "status": status, "messages": sorted(messages, key=str), "reached": reached or []}


def refused(family: str, name: str, body: str | list[Part], fields: Fields, code: int, status: int = 400, id: str = "null") -> Row:
    return row(family, name, body, fields, status, [[id, code]])


def both_eras(family: str, name: str, body: str | list[Part], code: int, id: str = "null", batch: int | None = None) -> Iterator[Row]:
    """Refused whoever says it. (`batch`: the code in a session of the revision that has batches.)"""
    yield refused(family, f"{name}, legacy", body, legacy_fields(), code, id=id)
    yield refused(family, f"{name}, modern", body, modern_fields("prompts/list"), code, id=id)


def legacy(id: str = "1", method: str = '"prompts/list"', more: str = "") -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"method":{method}{more}}}'


def modern(method: str = "prompts/list", id: str = "1", params: str = "") -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{"," if params else ""}{META}}}}}'


def arrived(body: str, id: str = "1") -> str:
    """A body as the server is to see it."""
    return body.replace(f'"id":{id},', '"id":$ID,', 1)


GOOD = legacy()
NOT_JSON = ["", " ", "\n\n", "{", "}", "{]", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{,}", "{1:2}", "{'a':1}", "{a:1}", '{"a" "b"}', '{"a";1}', '{"a"=1}', "{}}", "nul", "tru", "True",
            "None", "undefined", "NaN", "Infinity", "-Infinity", "+1", "01", "1.", ".5", "1e", "1e+", "--1", "-", '"', '"a', "'a'", '"\\x41"', '"\\u12"', '"\\u00g0"', '"\t"',
            '"\n"', "\x00", "\x00\x00\x00\x00", GOOD + "x", GOOD + GOOD, GOOD + "\n" + GOOD, GOOD + "\x00", GOOD + ",", GOOD + "]", "//c\n" + GOOD, "/**/" + GOOD, "#\n" + GOOD, GOOD[:-1],
            GOOD.replace(":", "="), GOOD.replace('"', "'"), GOOD.replace(",", ";"), GOOD.replace(",", " "), ")]}',\n" + GOOD, "\x1e" + GOOD, "\xa0" + GOOD, "\xc2\xa0" + GOOD,
            "\xe2\x80\xa8" + GOOD, "\x0b" + GOOD, "\x0c" + GOOD, "<xml/>", "a=b", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "--boundary\r\n", "data: " + GOOD]  # fmt: skip
NOT_VALUES = ["NaN", "Infinity", "-Infinity", "+1", "01", "00", "-01", "1.", ".5", "-.5", "1e", "1e+", "1.e1", "0x10", "1_0", "\xd9\xa1", "True", "None", "nil", "undefined", "'a'", "a", '"\\x41"', '"\\a"',
              '"\\u12"', '"\\u00g0"', '"\\U0001f600"', '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '"\\ud800x"', '"\x00"', '"\x1f"', '"\t"', '"\n"', '"\r"', "[1,]", "[,1]", "[1 2]", "[1;2]", "[", "]", "{",
              '{"a":1,}', '{"a"}', "{1:1}", '{"a":}', "", ",", ":", "1 2", "1,,", "/**/1", "1//\n", "`a`", "(1)", "<a>", "@a", "1n", "1f", "-", "--1", "1-1", "$a", "\\u0031"]  # fmt: skip
VALUES = ["0", "-0", "1E+2", "1e-400", "1e400", "0.10", "1.0", "-1.50e1", "123456789012345678901234567890", "9" * 300, "null", "true", "false", '""', '"\\u0041"', '"\\/"', '"\\u00e9"', '"\\ud83d\\ude00"',
          '"\xc3\xa9"', '"\x7f"', '"\\u0000"', '"\xe2\x80\xa8"', '"</script>"', "[]", "{}", "[[[]]]", '{"":{"":[]}}', '{"a":1,"a":2}', '"' + "x" * 5000 + '"', '{"__proto__":{}}', '"\\"\\\\\\b\\f\\n\\r\\t"']  # fmt: skip


def not_json() -> Iterator[Row]:
    for text in NOT_JSON:
        yield from both_eras("not JSON", repr(text[:60]), text, PARSE)
    for text in ("0x10", "1_000", GOOD[1:], "1 2", '"a" "b"', "nullx", "true false"):  # that it is no object shows before its wrong end does
        yield from both_eras("not JSON", f"no object either: {text[:60]!r}", text, INVALID)
    for text in ("0", "-1", "1.5", '"a"', "null", "true", "false", '""', " 1 "):
        yield from both_eras("not JSON", f"JSON but no object: {text!r}", text, INVALID)
    for value in NOT_VALUES:
        yield from both_eras("not JSON within", repr(value), legacy(more=f',"params":{{"a":{value}}}'), PARSE)
    for value in VALUES:
        body = legacy(more=f',"params":{{"a":{value}}}')
        yield row("JSON byte for byte", f"{value[:60]!r}, legacy", body, legacy_fields(), 200, [["1", "result"]], [arrived(body)])
        if '"a":1,"a"' not in value:
            body = modern(params=f'"a":{value}')
            yield row("JSON byte for byte", f"{value[:60]!r}, modern", body, modern_fields("prompts/list"), 200, [["1", "result"]], [arrived(body)])
    for space in (" ", "\t", "\n", "\r", "\r\n \t"):
        body = f"{space}{{{space}\"jsonrpc\"{space}:{space}\"2.0\"{space},{space}\"id\":{space}1{space},\"method\":\"prompts/list\"{space}}}{space}"
        yield row("JSON byte for byte", f"{space!r} between all", body, legacy_fields(), 200, [["1", "result"]], [arrived(GOOD)])
        body = legacy(more=f',"params":{{"a":[1,{space}2]}}')
        yield row("JSON byte for byte", f"{space!r} within params", body, legacy_fields(), 200, [["1", "result"]], [arrived(body).replace("\r", " ").replace("\n", " ")])


BAD_UTF8 = ["\x80", "\xbf", "\xc0\x80", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xc2\x41", "\xc3\x28", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x28\xa1", "\xe2\x82\x28", "\xed\xa0\x80", "\xed\xaf\xbf", "\xed\xb0\x80",
            "\xed\xbf\xbf", "\xed\xa0\xbd\xed\xb8\x80", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf0\x28\x8c\xbc", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80",
            "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", "\xff\xfe", "\xe9", "caf\xe9"]  # fmt: skip
GOOD_UTF8 = ["\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xef\xbf\xbf", "\xef\xbb\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xcc\x81", "\xe2\x80\xae"]


def encodings() -> Iterator[Row]:
    for text in BAD_UTF8:
        for place, more in (("a value", f',"params":{{"a":"{text}"}}'), ("a key", f',"params":{{"{text}":1}}'), ("a member's name", f',"{text}":1')):
            yield from both_eras("encodings", f"{text!r} in {place}", legacy(more=more), PARSE)
        yield from both_eras("encodings", f"{text!r} in the method", legacy(method=f'"{text}"'), PARSE)
        yield from both_eras("encodings", f"{text!r} in the id", legacy(id=f'"{text}"'), PARSE)
    for text in GOOD_UTF8:
        body = legacy(more=f',"params":{{"{text}":"{text}"}}')
        yield row("encodings", f"good {text!r}", body, legacy_fields(), 200, [["1", "result"]], [arrived(body)])
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7"):
        name = GOOD.replace("prompts", "prömpts") if encoding == "utf-7" else GOOD
        text = name.encode(encoding).decode("latin-1")
        if encoding != "utf-7":
            yield from both_eras("encodings", encoding, text, PARSE)
    yield from both_eras("encodings", "compressed", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", PARSE)


def depths() -> Iterator[Row]:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for depth in (10, 100, 500):
            value = opening * depth + "0" + closing * depth
            body = legacy(more=f',"params":{{"a":{value}}}')
            yield row("depths", f"{depth} {opening}", body, legacy_fields(), 200, [["1", "result"]], [arrived(body)])
            body = modern(params=f'"a":{value}')
            yield row("depths", f"{depth} {opening}, modern", body, modern_fields("prompts/list"), 200, [["1", "result"]], [arrived(body)])
        for depth in (1100, 5000, 100_000, 1_000_000):
            for name, head, tail in (("params", '{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":', "}}"), ("id", '{"jsonrpc":"2.0","method":"x","id":', "}"), ("a member", '{"a":', "}"), ("all", "{\"\":", "}")):
                shut: list[Part] = ["0", [closing, depth], tail]
                for end, rest in (("closed", shut), ("left open", [])):
                    yield from both_eras("depths", f"{depth} {opening} as {name}, {end}", [head, [opening, depth], *rest], PARSE)


def messages() -> Iterator[Row]:
    from hostile.make_messages_more import more_messages

    yield from not_json()
    yield from encodings()
    yield from depths()
    yield from more_messages()
