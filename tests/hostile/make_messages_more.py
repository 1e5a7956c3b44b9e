"""The other half of `make_messages`: ids, members, duplicates, the header rules of 2026-07-28, eras, batches, sessions, and who may send at all."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from hostile.make_messages import (
    BATCHING,
    FORBIDDEN,
    INVALID,
    KIND,
    LEGACY,
    META,
    MISMATCH,
    MODERN,
    PARAMS,
    PARSE,
    SESSION_MISSING,
    SESSION_UNKNOWN,
    UNKNOWN_METHOD,
    UNSERVED,
    Fields,
    arrived,
    both_eras,
    legacy,
    legacy_fields,
    modern,
    modern_fields,
    refused,
    row,
)
from hostile.rows import Row

GOOD_IDS = ["0", "1", "-1", "9007199254740991", "9007199254740993", "18446744073709551616", "-9223372036854775809", "9" * 1024, '""', '"1"', '"a b"', '"\\u0031"', '"\\n"', '"\\u0000"', '"\\""', '"\\\\"',
            '"\xc3\xa9"', '"\\ud83d\\ude00"', '"null"', '"' + "x" * 1022 + '"', '"../../etc"', '"$ID"', "-0"]  # fmt: skip
BAD_IDS = ["null", "true", "false", "1.5", "1.0", "-0.0", "1e2", "1E400", "[]", "[1]", "{}", '{"a":1}', '"' + "x" * 1023 + '"', "9" * 1025, "-" + "9" * 1024, "[[[[[[]]]]]]"]


def ids() -> Iterator[Row]:
    """Given back as they were spelled; nobody is answered under an id that none may have."""
    for id in GOOD_IDS:
        body = legacy(id)
        yield row("ids", f"{id[:60]}, legacy", body, legacy_fields(), 200, [[id, "result"]], [arrived(body, id)])
        body = modern(id=id)
        yield row("ids", f"{id[:60]}, modern", body, modern_fields("prompts/list"), 200, [[id, "result"]], [arrived(body, id)])
        yield refused("ids", f"{id[:60]}, modern, refused", modern(id=id), modern_fields("other"), MISMATCH, id=id)
    for id in BAD_IDS:
        yield from both_eras("ids", f"bad {id[:60]}", legacy(id), INVALID)
        yield refused("ids", f"bad {id[:60]}, modern throughout", modern(id=id), modern_fields("prompts/list"), INVALID)
        yield refused("ids", f"bad {id[:60]} of initialize", legacy(id, '"initialize"', ',"params":{"protocolVersion":"2025-11-25","capabilities":{}}'), (KIND,), INVALID)


def members() -> Iterator[Row]:
    for version in ("2.0", "2", "1", "null", "true", '"1.0"', '"2"', '"2.00"', '"2.0 "', '" 2.0"', '"02.0"', '"3.0"', '""', "[]", "{}", '["2.0"]', '"\\u0032.0"'):
        yield from both_eras("members", f"jsonrpc {version}", f'{{"jsonrpc":{version},"id":1,"method":"prompts/list"}}', INVALID)
    for name in ("JSONRPC", "jsonRpc", "jsonrpc ", "json-rpc"):
        yield from both_eras("members", f"{name!r} for jsonrpc", f'{{"{name}":"2.0","id":1,"method":"prompts/list"}}', INVALID)
    for method in ("null", "1", "true", "[]", "{}", '["prompts/list"]', '{"name":"prompts/list"}'):
        yield from both_eras("members", f"method {method}", legacy(method=method), INVALID)
    for text in ("{}", '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","params":{}}', '{"id":1,"method":"prompts/list"}', '{"jsonrpc":"2.0","id":1,"Method":"prompts/list"}',
                 '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', '{"result":{}}', '{"jsonrpc":"2.0","id":1,"result":{},"error":null}'):  # fmt: skip
        yield from both_eras("members", text, text, INVALID)
    for more in (',"x":1', ',"result":{}', ',"error":{"code":1,"message":""}', ',"":""', ',"ID":2', ',"params":{}', ',"x":{"id":7}'):
        body = legacy(more=more)
        yield row("members", f"more: {more}", body, legacy_fields(), 200, [["1", "result"]], [arrived(body)])
    yield row("members", "a name in escapes", legacy(more=',"\\u0069d ":3'), legacy_fields(), 200, [["1", "result"]], [arrived(legacy(more=',"id ":3'))])
    for params in ("[]", "[1,2]", "1", '"a"', "true", "null", "1.5"):
        body = legacy(more=f',"params":{params}')
        yield row("members", f"params {params}, legacy", body, legacy_fields(), 200, [["1", "result"]], [arrived(body)])  # the server's to judge
        yield refused("members", f"params {params}, modern", body, modern_fields("prompts/list"), PARAMS, id="1")
    for meta in ("[]", "1", '"a"', "true", "null", "{}", '{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}', '{"io.modelcontextprotocol/clientCapabilities":{}}',
                 '{"io.modelcontextprotocol/protocolVersion":1,"io.modelcontextprotocol/clientCapabilities":{}}', '{"io.modelcontextprotocol/protocolVersion":null,"io.modelcontextprotocol/clientCapabilities":{}}',
                 '{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}', '{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":null}'):  # fmt: skip
        yield refused("members", f"_meta {meta}", f'{{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{{"_meta":{meta}}}}}', modern_fields("prompts/list"), PARAMS, id="1")
    for method in ("", "a", "x" * 10_000, "\\u0070rompts/list", "a\\nb", "rpc.discover", "../x", "\xf0\x9f\x98\x80"):
        body = legacy(method=f'"{method}"')
        yield row("members", f"method {method[:30]!r}, legacy", body, legacy_fields(), 200, [["1", "result"]], [arrived(body)])


def duplicates() -> Iterator[Row]:
    """The last of two members counts, for the proxy and for the server: that sees no other."""
    many = {
        "id": ('{"jsonrpc":"2.0","id":1,"id":2,"method":"prompts/list"}', "2", '{"jsonrpc":"2.0","id":$ID,"method":"prompts/list"}'),
        "id in escapes": ('{"jsonrpc":"2.0","id":1,"\\u0069d":2,"method":"prompts/list"}', "2", '{"jsonrpc":"2.0","id":$ID,"method":"prompts/list"}'),
        "method": ('{"jsonrpc":"2.0","id":1,"method":"evil","method":"prompts/list"}', "1", '{"jsonrpc":"2.0","id":$ID,"method":"prompts/list"}'),
        "jsonrpc": ('{"jsonrpc":"1.0","jsonrpc":"2.0","id":1,"method":"prompts/list"}', "1", '{"jsonrpc":"2.0","id":$ID,"method":"prompts/list"}'),
        "params": ('{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"a":1},"params":{"b":2}}', "1", '{"jsonrpc":"2.0","id":$ID,"method":"prompts/list","params":{"b":2}}'),
        "id, three times": ('{"id":"a","jsonrpc":"2.0","id":null,"method":"prompts/list","id":3}', "3", '{"id":$ID,"jsonrpc":"2.0","method":"prompts/list"}'),
    }
    for name, (body, id, line) in many.items():
        yield row("duplicates", f"{name}, legacy", body, legacy_fields(), 200, [[id, "result"]], [line])
    for name, body in {"id, the last null": '{"jsonrpc":"2.0","id":1,"method":"prompts/list","id":null}', "method, the last a number": '{"jsonrpc":"2.0","id":1,"method":"a","method":1}',
                       "jsonrpc, the last wrong": '{"jsonrpc":"2.0","id":1,"method":"a","jsonrpc":"1.0"}'}.items():  # fmt: skip
        yield from both_eras("duplicates", name, body, INVALID)
    for first, last, says, code in (("add", "evil", "add", MISMATCH), ("evil", "add", "add", None), ("add", "add", "add", None), ("evil", "add", "evil", MISMATCH)):
        for key in ('"name"', '"n\\u0061me"', '"\\u006e\\u0061\\u006d\\u0065"'):
            body = modern("tools/call", params=f'"name":"{first}",{key}:"{last}"')
            fields = modern_fields("tools/call", says)
            name = f"name {first} and {key} {last}, header {says}"
            if code is None:
                yield row("duplicates", name, body, fields, 200, [["1", "result"]], [arrived(modern("tools/call", params='"name":"add"'))])
            else:
                yield refused("duplicates", name, body, fields, code, id="1")
    version, capabilities = '"io.modelcontextprotocol/protocolVersion"', '"io.modelcontextprotocol/clientCapabilities":{}'
    for first, last, says in ((MODERN, "2099-01-01", MODERN), ("2099-01-01", MODERN, MODERN), ("2099-01-01", MODERN, "2099-01-01"), (MODERN, LEGACY, MODERN), (LEGACY, MODERN, MODERN)):
        for key in (version, version.replace("/", "\\/"), version.replace("p", "\\u0070", 1)):
            body = f'{{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{{"_meta":{{{version}:"{first}",{capabilities},{key}:"{last}"}}}}}}'
            name = f"version {first} and {key} {last}, header {says}"
            fields = modern_fields("prompts/list", version=says)
            if last == says:
                line = f'{{"jsonrpc":"2.0","id":$ID,"method":"prompts/list","params":{{"_meta":{{{version}:"{last}",{capabilities}}}}}}}'
                yield row("duplicates", name, body, fields, 200, [["1", "result"]], [line])
            else:
                yield refused("duplicates", name, body, fields, MISMATCH, id="1")
    for name, params in (("the first", f'{META},"_meta":{{}}'), ("both, the last a number", f'{META},"_meta":1')):
        yield refused("duplicates", f"_meta in {name}", f'{{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{{{params}}}}}', modern_fields("prompts/list"), PARAMS, id="1")
    body = f'{{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{{"_meta":{{}},{META}}}}}'
    yield row("duplicates", "_meta in the last", body, modern_fields("prompts/list"), 200, [["1", "result"]], [arrived(body.replace('"_meta":{},', ""))])
    yield from mirrored_duplicates()


def mirrored_duplicates() -> Iterator[Row]:
    """Arguments that a header repeats."""
    for header, arguments, sent in (
        (("mcp-param-region", "eu"), '"region":"us","region":"eu"', '"region":"eu"'),
        (("mcp-param-region", "us"), '"region":"us","region":"eu"', None),
        (("mcp-param-region", "eu"), '"region":"us","r\\u0065gion":"eu"', '"region":"eu"'),
        (("mcp-param-count", "2"), '"count":1,"count":2', '"count":2'),
        (("mcp-param-city", "Rome"), '"where":{"city":"Oslo","city":"Rome"}', '"where":{"city":"Rome"}'),
        (("mcp-param-city", "Oslo"), '"where":{"city":"Oslo","city":"Rome"}', None),
        (("mcp-param-city", "Rome"), '"where":{"city":"Oslo"},"where":{"city":"Rome"}', '"where":{"city":"Rome"}'),
    ):
        body = modern("tools/call", params=f'"name":"where","arguments":{{{arguments}}}')
        fields = (*modern_fields("tools/call", "where"), header)
        name = f"{arguments}, header {header[1]}"
        if sent is None:
            yield refused("duplicates", name, body, fields, MISMATCH, id="1")
        else:
            yield row("duplicates", name, body, fields, 200, [["1", "result"]], [arrived(modern("tools/call", params=f'"name":"where","arguments":{{{sent}}}'))])


def wrapped(text: str) -> str:
    return f"=?base64?{b64encode(text.encode()).decode()}?="


def header_rules() -> Iterator[Row]:
    body = modern("tools/call", params='"name":"add"')
    good = dict(modern_fields("tools/call", "add"))

    def judged(name: str, fields: Fields, code: int | None = MISMATCH, said: str = body) -> Row:
        if code is None:
            return row("header rules", name, said, fields, 200, [["1", "result"]], [arrived(said)])
        return refused("header rules", name, said, fields, code, id="1")

    yield judged("all good", tuple(good.items()), None)
    for name in ("mcp-method", "mcp-name", "mcp-protocol-version"):
        yield judged(f"no {name}", tuple((key, value) for key, value in good.items() if key != name))
        for value in ("", " ", "x", good[name].upper() + "x", good[name] + ",", f"{good[name]}, {good[name]}", f'"{good[name]}"', good[name] + "\xa0", good[name] + "\x85", "\xef\xbb\xbf" + good[name]):
            yield judged(f"{name} {value!r}", tuple({**good, name: value}.items()))
        for other in (good[name], "x"):
            yield refused("header rules", f"{name} twice, {other}", body, (*good.items(), (name, other)), MISMATCH)
            yield refused("header rules", f"{name} twice, {other} first", body, ((name, other), *good.items()), MISMATCH)
        for value in (f" {good[name]}", f"{good[name]} ", f"\t{good[name]}  "):
            yield judged(f"{name} in blanks {value!r}", tuple({**good, name: value}.items()), None)
    yield judged("mcp-method in capitals", tuple({**good, "mcp-method": "TOOLS/CALL"}.items()))
    yield judged("mcp-method in base64", tuple({**good, "mcp-method": wrapped("tools/call")}.items()))
    yield judged("mcp-method of another request", tuple({**good, "mcp-method": "tools/list"}.items()))
    yield judged("names in capitals", tuple((key.upper(), value) for key, value in good.items()), None)
    for value in (wrapped("add"), f" {wrapped('add')} "):
        yield judged(f"mcp-name {value!r}", tuple({**good, "mcp-name": value}.items()), None)
    for value in ("=?base64?YWRk", "YWRk", "YWRk?=", "=?base64??=", "=?base64?YWRk=?=", "=?base64?YWR?=", "=?base64?YW Rk?=", "=?base64?YWRl?=", "=?BASE64?YWRk?=", "=?base64?-WRk?=", "=?base64?/w==?=",
                  "=?utf-8?B?YWRk?=", "=?base64?YWRk?==?base64?YWRk?=", "=?base64?", "?=", "=?base64?=", "%61dd", "add\\", "\\u0061dd", "ADD", "a dd"):  # fmt: skip
        yield judged(f"mcp-name {value!r} is not add", tuple({**good, "mcp-name": value}.items()))
    for name in ("caf\u00e9", "=?base64?YWRk?=", " add", "add ", "a\tb", "\u65e5\u672c", "", "add\u0000", "x" * 200, "a\nb", "\U0001f600"):
        text = name.encode("unicode-escape").decode().replace("\\x", "\\u00") if not name.startswith("\U0001f600") else "\\ud83d\\ude00"
        said = modern("tools/call", params=f'"name":"{text}"')
        fields = tuple({**good, "mcp-name": wrapped(name)}.items())
        yield judged(f"the name {text[:20]!r} wrapped", fields, None, said)
    for value in ("1", "null", "true", "[]", "{}", '["add"]'):
        said = modern("tools/call", params=f'"name":{value}')
        yield judged(f"a name {value}", tuple(good.items()), None if value == "null" else MISMATCH, said)
    for method, member in (("prompts/get", "name"), ("resources/read", "uri"), ("tasks/get", "taskId"), ("tasks/update", "taskId"), ("tasks/cancel", "taskId")):
        said = modern(method, params=f'"{member}":"add"')
        yield judged(f"{method} with its {member}", modern_fields(method, "add"), None, said)
        yield judged(f"{method} with another {member}", modern_fields(method, "evil"), MISMATCH, said)
        yield judged(f"{method} without", modern_fields(method), None if method.startswith("tasks/") else MISMATCH, said)
    for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/list", "tasks/result"):
        yield refused("header rules", f"{method} is no more", modern(method), modern_fields(method), UNKNOWN_METHOD, 404, "1")
    yield from mirrored()


def mirrored() -> Iterator[Row]:
    """`Mcp-Param-*`."""
    for name, arguments, fields, good in (
        ("nothing said", "", (), True),
        ("both", '"region":"eu"', (("mcp-param-region", "eu"),), True),
        ("header alone", "", (("mcp-param-region", "eu"),), False),
        ("argument alone", '"region":"eu"', (), False),
        ("argument null", '"region":null', (), True),
        ("argument null, header", '"region":null', (("mcp-param-region", "null"),), False),
        ("another case", '"region":"eu"', (("mcp-param-region", "EU"),), False),
        ("header twice", '"region":"eu"', (("mcp-param-region", "eu"), ("mcp-param-region", "eu")), False),
        ("wrapped", '"region":"eu"', (("mcp-param-region", wrapped("eu")),), True),
        ("badly wrapped", '"region":"eu"', (("mcp-param-region", "=?base64?ZXU?="),), False),
        ("empty", '"region":""', (("mcp-param-region", ""),), True),
        ("integer", '"count":42', (("mcp-param-count", "42"),), True),
        ("integer as 42.0", '"count":42', (("mcp-param-count", "42.0"),), True),
        ("42.0 as integer", '"count":42.0', (("mcp-param-count", "42"),), True),
        ("42.5", '"count":42', (("mcp-param-count", "42.5"),), False),
        ("4.2e1", '"count":4.2e1', (("mcp-param-count", "42"),), True),
        ("+42", '"count":42', (("mcp-param-count", "+42"),), False),
        ("0x2a", '"count":42', (("mcp-param-count", "0x2a"),), False),
        ("other digits", '"count":42', (("mcp-param-count", "\xd9\xa4\xd9\xa2"),), False),
        ("a huge integer", f'"count":1{"0" * 400}', (("mcp-param-count", "1" + "0" * 400),), True),
        ("nested", '"where":{"city":"Oslo"}', (("mcp-param-city", "Oslo"),), True),
        ("nested alone", '"where":{"city":"Oslo"}', (), False),
        ("not nested", '"city":"Oslo"', (("mcp-param-city", "Oslo"),), False),
        ("unknown to the tool", "", (("mcp-param-else", "x"),), True),
        ("an object", '"region":{}', (), True),
    ):
        body = modern("tools/call", params=f'"name":"where","arguments":{{{arguments}}}')
        all_fields = (*modern_fields("tools/call", "where"), *fields)
        if good:
            yield row("header rules", f"parameter: {name}", body, all_fields, 200, [["1", "result"]], [arrived(body)])
        else:
            yield refused("header rules", f"parameter: {name}", body, all_fields, MISMATCH, id="1")


def eras() -> Iterator[Row]:
    plain, said = legacy(), modern()
    for version in ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", " 2025-11-25 "):
        yield row("eras", f"header {version}", plain, (KIND, ("mcp-session-id", f"${LEGACY}"), ("mcp-protocol-version", version)), 200, [["1", "result"]], [arrived(plain)])
    yield row("eras", "no header", plain, (KIND, ("mcp-session-id", f"${LEGACY}")), 200, [["1", "result"]], [arrived(plain)])
    for version in ("2026-07-28", "2099-01-01", "1999-01-01", "2025-11-26", "x", "", "draft", "2025-11-25, 2026-07-28", "2025-11-25\xa0"):
        yield refused("eras", f"header {version!r}, no _meta", plain, (KIND, ("mcp-session-id", f"${LEGACY}"), ("mcp-protocol-version", version)), PARAMS, id="1")
    for version in ("2025-11-25", "2024-11-05"):
        yield refused("eras", f"_meta of {MODERN}, header {version}", said, (KIND, ("mcp-protocol-version", version), ("mcp-method", "prompts/list")), MISMATCH, id="1")
    yield refused("eras", f"_meta of {MODERN}, no header", said, (KIND, ("mcp-method", "prompts/list")), MISMATCH, id="1")
    yield refused("eras", "no session", plain, (KIND,), SESSION_MISSING, id="1")
    for session in ("x", "", "0" * 32, "\xff", "../x", "a" * 5000):
        yield refused("eras", f"session {session[:20]!r}", plain, (KIND, ("mcp-session-id", session)), SESSION_UNKNOWN, 404, "1")
    yield refused("eras", "two sessions", plain, (*legacy_fields(), ("mcp-session-id", f"${BATCHING}")), MISMATCH)
    yield refused("eras", "the same session twice", plain, (*legacy_fields(), ("mcp-session-id", f"${LEGACY}")), MISMATCH)
    body = modern()
    yield row("eras", "a modern request needs no session, and one that is named is no matter", body, (*modern_fields("prompts/list"), ("mcp-session-id", "x")), 200, [["1", "result"]], [arrived(body)])


def batches() -> Iterator[Row]:
    one, note = legacy("1"), '{"jsonrpc":"2.0","method":"notifications/x"}'
    old = legacy_fields(BATCHING)
    for text in (f"[{one}]", "[]", f" [{one}]", "[", "[]x", "[[]]", "[1]", f"[{one}"):
        yield refused("batches", f"{text[:20]!r} {len(text)} after {BATCHING}", text, legacy_fields(), INVALID)
        yield refused("batches", f"{text[:20]!r} {len(text)} in {MODERN}", text, modern_fields("prompts/list"), INVALID)
    yield row("batches", "of one", f"[{one}]", old, 200, [["1", "result"]], [arrived(one)])
    yield row("batches", "of one between blanks", f" \n[ {one} ]\n", old, 200, [["1", "result"]], [arrived(one)])
    yield row("batches", "of two", f"[{legacy('1')},{legacy('2')}]", old, 200, [["1", "result"], ["2", "result"]], [arrived(legacy("1")), arrived(legacy("2"), "2")])
    yield row("batches", "of two with one id", f"[{one},{one}]", old, 200, [["1", "result"], ["1", "result"]], [arrived(one), arrived(one)])
    yield row("batches", "of notifications", f"[{note},{note}]", old, 202, [], [note, note])
    yield row("batches", "of both", f"[{note},{one}]", old, 200, [["1", "result"]], [note, arrived(one)])
    for text, code in (("[]", INVALID), ("[ ]", INVALID), ("[1]", INVALID), ("[[]]", INVALID), (f"[[{one}]]", INVALID), ("[null]", INVALID), ("[{}]", INVALID), (f"[{one},1]", INVALID), (f"[{one},{{}}]", INVALID),
                       ("[", PARSE), (f"[{one}", PARSE), (f"[{one},]", PARSE), (f"[{one}]]", PARSE), (f"[{one}]{one}", PARSE), (f"[{one} {one}]", PARSE), ("[\xff]", PARSE)):  # fmt: skip
        yield refused("batches", f"bad {text[:5]!r} … {text[40:]!r}", text, old, code)
    for depth in (1100, 100_000):
        yield row("batches", f"{depth} deep", [["[", depth]], old, 400, [["null", PARSE]])
    for id in ("null", "1.5", "true", "[]", "{}"):
        yield row("batches", f"a bad id {id} among good ones", f"[{legacy(id)},{one}]", old, 200, [["null", INVALID], ["1", "result"]], [arrived(one)])
    for count in (1001, 5000, 100_000):
        yield row("batches", f"of {count}", ["[", [one + ",", count - 1], one + "]"], old, 400, [["null", INVALID]])


def notifications() -> Iterator[Row]:
    note = '{"jsonrpc":"2.0","method":"notifications/x"}'
    yield row("no answer", "a notification, legacy", note, legacy_fields(), 202, [], [note])
    yield row("no answer", "a notification, modern", note, modern_fields("notifications/x"), 202, [])
    yield refused("no answer", "a notification without a session", note, (KIND,), SESSION_MISSING)
    for method in ("initialize", "tools/call", "prompts/list"):
        text = f'{{"jsonrpc":"2.0","method":"{method}"}}'
        yield row("no answer", f"{method} as a notification", text, legacy_fields(), 202, [], [text])
    for text in ('{"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":""}}', '{"jsonrpc":"2.0","result":{}}',
                 '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}', '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":null}}',
                 '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}', '{"jsonrpc":"2.0","method":"notifications/cancelled"}'):  # fmt: skip
        yield row("no answer", f"dropped: {text}", text, legacy_fields(), 202, [])
    for text in ('{"jsonrpc":"2.0","id":1.5,"result":{}}', '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', '{"jsonrpc":"2.0","id":{},"result":{}}', '{"jsonrpc":"2.0","id":true,"error":{"code":1,"message":""}}'):
        yield refused("no answer", f"no answer can have such an id: {text}", text, legacy_fields(), INVALID)
    yield refused("no answer", "cancelled with params of no kind", '{"jsonrpc":"2.0","method":"notifications/cancelled","params":[]}', legacy_fields(), PARAMS)


def gates() -> Iterator[Row]:
    body = legacy()
    for kind in ("", "text/plain", "application/xml", "application/jso", "json", "text/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain, application/json", " ", "*/*",
                 "application/ json", '"application/json"', "application%2fjson"):  # fmt: skip
        yield refused("content types", repr(kind), body, (("content-type", kind), *legacy_fields()[1:]), UNSERVED, 415)
    yield refused("content types", "none", body, legacy_fields()[1:], UNSERVED, 415)
    yield refused("content types", "two", body, (*legacy_fields(), ("content-type", "text/plain")), MISMATCH)
    for kind in ("application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=utf-8", "application/json ;x", " application/json "):
        yield row("content types", f"good {kind!r}", body, (("content-type", kind), *legacy_fields()[1:]), 200, [["1", "result"]], [arrived(body)])
    for origin in ("http://localhost", "http://localhost:3000", "https://localhost", "HTTP://LOCALHOST", "http://127.0.0.1:8080", "http://[::1]", "http://[::1]:65535", "http://localhost/"):
        yield row("origins", f"good {origin!r}", body, (*legacy_fields(), ("origin", origin)), 200, [["1", "result"]], [arrived(body)])
    for origin in ("null", "", "file://", "localhost", "//localhost", "http:localhost", "http:/localhost", "http://", "http:///", "http://evil.example", "http://localhost.evil.example", "http://evil.localhost",
                   "http://localhost.", "http://127.0.0.1.nip.io", "http://127.0.0.2", "http://0.0.0.0", "http://[::]", "http://2130706433", "http://localhost@evil.example", "http://user@localhost",
                   "http://localhost#", "http://localhost?", "http://localhost?x", "http://localhost/x", "http://localhost\\evil.example", "http://localhost:x", "http://localhost:65536", "http://localhost:1:2",
                   "http://localhost, http://evil.example", "http://localhost http://evil.example", "ftp://localhost", "ws://localhost", "chrome-extension://localhost", "javascript:alert(1)", "data:,",
                   "http://*", "*", "http://[::1", "http://::1", "http://[localhost]", "http://loc%61lhost", "http://l\xf6calhost", "about:blank", "http://localhost\xa0"):  # fmt: skip
        yield refused("origins", repr(origin), body, (*legacy_fields(), ("origin", origin)), FORBIDDEN, 403)
    for second in ("http://localhost", "http://evil.example"):
        yield refused("origins", f"two, {second}", body, (*legacy_fields(), ("origin", "http://localhost"), ("origin", second)), MISMATCH if second == "http://localhost" else FORBIDDEN, 400 if second == "http://localhost" else 403)


def more_messages() -> Iterator[Row]:
    for family in (ids, members, duplicates, header_rules, eras, batches, notifications, gates):
        yield from family()
