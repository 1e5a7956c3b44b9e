"""Rows of `child_lines`: what a stdio server writes when it is asked, and what becomes of those who asked.

Two clients wait, with the ids "a" and "b"; the first has the progress token "t". A row: `era`; `lines`, in which `$ID` is the first request's id on the
pipe, `$OTHER` the second's; `exit` if the server ends then; `status` and `messages` of the first client; `other`, the outcome of the second, whom the
server answers properly afterwards if it lives; `heard`, what a legacy client's GET stream hears; `sent`, what the server is sent meanwhile. The next
request is answered properly in any case. Each is written whole and byte by byte.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostile.make_messages import BAD_UTF8, GOOD_UTF8, NOT_JSON, NOT_VALUES, VALUES
from hostile.rows import Part, Row

MESSAGE_LIMIT = 100_000
EXITED, TIMEOUT, TOO_LARGE, INVALID, NO_METHOD = 1002, 1004, 1104, -32600, -32601
ERAS = ("legacy", "modern")
CANCELLED = ["-", "notifications/cancelled"]


def answer(id: str = "$ID", outcome: str = '"result":{}', head: str = "") -> str:
    return f'{{"jsonrpc":"2.0",{head}"id":{id},{outcome}}}\n'


def note(method: str, params: str | None = None) -> str:
    return f'{{"jsonrpc":"2.0","method":"{method}"' + ("" if params is None else f',"params":{params}') + "}\n"


def progress(token: str = "$ID", more: str = "") -> str:
    return note("notifications/progress", f'{{"progressToken":{token},"progress":1{more}}}')


def ask(id: str, method: str = "sampling/createMessage") -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}\n'


ANSWER = answer()
RESULT: list[list[Any]] = [['"a"', "result"]]
PROGRESS = ["-", "notifications/progress"]


def row(family: str, name: str, era: str, lines: str | list[Part], messages: list[list[Any]] | None = None, status: int = 200, **more: Any) -> Row:
    parts: list[Part] = [lines] if isinstance(lines, str) else lines
    return {"family": family, "name": f"{family}: {name}, {era}", "era": era, "lines": parts, "exit": False, "status": status, "messages": RESULT if messages is None else messages,
            "other": "result", "heard": [], "sent": [], **more}  # fmt: skip


def silent(family: str, name: str, era: str, lines: str | list[Part], **more: Any) -> Row:
    """Nobody is answered by that: the first client's time runs out, and the server is told."""
    return row(family, name, era, lines, [['"a"', TIMEOUT]], 504, **{"sent": [CANCELLED], **more})


def swallowing(family: str, name: str, era: str, lines: str | list[Part]) -> Row:
    """The same, and the second client's answer comes on the same line, so that it is lost as well."""
    return silent(family, name, era, lines, other=TIMEOUT, sent=[CANCELLED] * 2)


def garbage() -> Iterator[Row]:
    for text in NOT_JSON:
        line = text.replace("\n", " ") + "\n"
        yield row("garbage", f"{text[:50]!r} before the answer", "modern", line + ANSWER)
    for era in ERAS:
        for text in ("garbage", "", " ", "\t\t", "\r", "\x00", "{}", "[]", "null", "1", '"a"', "\xff\xfe", "Listening on port 3000", "[INFO] ready", "\x1b[31mred\x1b[0m", "[" * 5000, '{"a":' * 5000, ":" * 50_000):
            yield row("garbage", f"{text[:50]!r} first", era, text + "\n" + ANSWER)
            yield row("garbage", f"{text[:50]!r} in place of an answer, which follows", era, f"{text}\n{text}\n{text}\n{ANSWER}")
        for text in ("garbage", "x" * 1000, "{", '{"jsonrpc":"2.0","id":$ID,"result":'):
            yield silent("garbage", f"{text[:50]!r} glued to the answer", era, text + ANSWER)
        for lead in ("\xef\xbb\xbf", "\x00", "data: ", ")]}'", ">"):
            yield silent("garbage", f"{lead!r} before the answer's line", era, lead + ANSWER)
        for end in ("\r\n", " \n", "\t\r\n", "\n\n\n", "\r\n\r\n"):
            yield row("garbage", f"{end!r} for an end", era, ANSWER[:-1] + end)
        yield silent("garbage", "\\r for an end", era, ANSWER[:-1] + "\r" + note("notifications/x"))
        yield swallowing("garbage", "no end", era, ANSWER[:-1])
        yield row("garbage", "a thousand lines of it", era, [["garbage\n", 1000], ANSWER])
        yield row("garbage", "fifty thousand empty lines", era, [["\n", 50_000], ANSWER])
    for value in NOT_VALUES:
        if "\n" not in value:
            yield silent("garbage", f"an answer with {value!r} in it", "modern", answer(outcome=f'"result":{{"a":{value}}}'))
    for text in BAD_UTF8:
        yield silent("garbage", f"an answer with {text!r} in it", "modern", answer(outcome=f'"result":{{"a":"{text}"}}'))
    for value in [*VALUES, *(f'"{text}"' for text in GOOD_UTF8)]:
        yield row("garbage", f"a good answer with {value[:50]!r}", "modern", answer(outcome=f'"result":{{"a":{value}}}'))


def ids() -> Iterator[Row]:
    for era in ERAS:
        for id in ('"$ID"', "$ID.0", "-$ID", "$IDe0", "9999", "-1", "null", "true", "[]", "{}", "[$ID]", '{"id":$ID}', '"a"', '"t"', "1.5", "1" * 2000, '"' + "x" * 2000 + '"'):
            yield silent("ids", f"{id[:20]} answers nobody", era, answer(id))
            yield row("ids", f"{id[:20]} first", era, answer(id) + ANSWER)
        yield silent("ids", "none", era, '{"jsonrpc":"2.0","result":{}}\n')
        yield row("ids", "between blanks", era, answer(" $ID "))
        yield row("ids", "last", era, '{"result":{},"jsonrpc":"2.0","id":$ID}\n')
        yield row("ids", "twice, the last good", era, answer(head='"id":9999,'))
        yield silent("ids", "twice, the first good", era, '{"jsonrpc":"2.0","id":$ID,"result":{},"id":9999}\n')
        yield row("ids", "an error", era, answer(outcome='"error":{"code":-32601,"message":"no"}'), [['"a"', NO_METHOD]], 404 if era == "modern" else 200)
        yield row("ids", "the answer twice", era, ANSWER * 2)
        yield row("ids", "the answer a thousand times", era, [[ANSWER, 1000]])
        yield row("ids", "another answer under the same id", era, ANSWER + answer(outcome='"error":{"code":-1,"message":""}'))
        yield silent("ids", "the other's only", era, answer("$OTHER"))
        yield row("ids", "the other's first", era, answer("$OTHER") + ANSWER)
        yield silent("ids", "the other's twice", era, answer("$OTHER") * 2)
        for text in ('{"id":$ID,"result":{}}', '{"jsonrpc":"1.0","id":$ID,"result":{}}', '{"jsonrpc":2.0,"id":$ID,"result":{}}', '{"jsonrpc":"2.0","id":$ID}', '{"jsonrpc":"2.0","id":$ID,"result":{},"error":{"code":1,"message":""}}',
                     '[{"jsonrpc":"2.0","id":$ID,"result":{}}]', '{"jsonrpc":"2.0","id":$ID,"method":null}', '{"jsonrpc":"2.0","id":$ID,"method":1}', '{"jsonrpc":"2.0","Id":$ID,"result":{}}'):  # fmt: skip
            yield silent("ids", f"no answer: {text}", era, text + "\n")
            yield row("ids", f"no answer, then one: {text}", era, text + "\n" + ANSWER)


def sizes() -> Iterator[Row]:
    for era in ERAS:
        empty = len(answer("9", '"result":""')) - 1
        yield row("sizes", "as large as may be", era, answer(outcome='"result":"%s"' % ("x" * (MESSAGE_LIMIT - empty - 5))))
        for size in (MESSAGE_LIMIT, MESSAGE_LIMIT * 10):
            huge = "x" * size
            yield row("sizes", f"an answer of {size}", era, answer(outcome=f'"result":"{huge}"'), [['"a"', TOO_LARGE]], 502)
            yield row("sizes", f"an answer of {size} with blanks", era, f'{{ "jsonrpc" : "2.0" , "id" : $ID , "result" : "{huge}" }}\n', [['"a"', TOO_LARGE]], 502)
            yield silent("sizes", f"an answer of {size} with its id last", era, f'{{"jsonrpc":"2.0","result":"{huge}","id":$ID}}\n')
            yield silent("sizes", f"an answer of {size} whose result has an id", era, f'{{"jsonrpc":"2.0","result":{{"id":$ID,"x":"{huge}"}},"id":$ID}}\n')
            yield row("sizes", f"a line of {size} first", era, huge + "\n" + ANSWER)
            yield row("sizes", f"a notification of {size} first", era, note("notifications/x", f'{{"x":"{huge}"}}') + ANSWER)
            yield swallowing("sizes", f"a line of {size} without end", era, huge)
            yield silent("sizes", f"a line of {size} glued to the answer", era, huge + ANSWER)
        for opening in ("[", '{"a":'):
            for depth in (1100, 50_000 // len(opening)):
                yield silent("sizes", f"an answer {depth} {opening} deep", era, answer(outcome=f'"result":{opening * depth}'))
                yield row("sizes", f"a line {depth} {opening} deep first", era, opening * depth + "\n" + ANSWER)


def notifications() -> Iterator[Row]:
    for era in ERAS:
        legacy = era == "legacy"
        yield row("progress", "under its token", era, progress() + ANSWER, [PROGRESS, *RESULT])
        yield row("progress", "a hundred times", era, [[progress(), 90], ANSWER], [PROGRESS] * 90 + RESULT)
        for token in ('"t"', '"$ID"', "$OTHER", "9999", "null", "$ID.0", "true", "[]", "{}", "-$ID", '"' + "x" * 5000 + '"'):
            yield row("progress", f"under {token[:20]}", era, progress(token) + ANSWER)
        for params in ("{}", "[]", "1", "null", '"x"', "true", None):
            yield row("progress", f"with params {params}", era, note("notifications/progress", params) + ANSWER)
        yield row("progress", "twice the token, the last good", era, progress("9999", ',"progressToken":$ID') + ANSWER, [PROGRESS, *RESULT])
        yield row("progress", "twice the token, the first good", era, progress("$ID", ',"progressToken":9999') + ANSWER)
        yield row("progress", "after the answer", era, ANSWER + progress())
        yield row("progress", "a flood for nobody", era, [[progress("9999"), 5000], ANSWER])
        for method in ("notifications/tools/list_changed", "notifications/x", "x", "", "notifications/resources/updated"):
            yield row("notifications", f"{method!r}", era, note(method) + ANSWER, heard=[["-", method]] if legacy else [])
        yield row("notifications", "log", era, note("notifications/message", '{"level":"info","data":"x"}') + ANSWER, heard=[["-", "notifications/message"]] if legacy else [])
        for params in ("[]", "1", "null", '"x"', '{"_meta":1}', '{"_meta":{"io.modelcontextprotocol/subscriptionId":9999}}', '{"_meta":{"io.modelcontextprotocol/subscriptionId":"$OTHERx"}}',
                       '{"_meta":{"io.modelcontextprotocol/subscriptionId":null}}', '{"_meta":{"io.modelcontextprotocol/subscriptionId":{}}}', '{"_meta":{"io.modelcontextprotocol/subscriptionId":"\\u0000"}}'):  # fmt: skip
            yield row("notifications", f"with params {params}", era, note("notifications/tools/list_changed", params) + ANSWER, heard=[["-", "notifications/tools/list_changed"]] if legacy else [])
        for id in ("$ID", "9999", '"$ID"', "null", "[]", "$OTHER"):
            heard = [["-", "notifications/cancelled"]] if legacy else []
            yield row("notifications", f"cancelled {id}", era, note("notifications/cancelled", f'{{"requestId":{id}}}') + ANSWER, heard=heard)
        for params in ("{}", "[]", "1", None):
            yield row("notifications", f"cancelled with params {params}", era, note("notifications/cancelled", params) + ANSWER, heard=[["-", "notifications/cancelled"]] if legacy else [])
        for count in (50, 100):
            yield row("notifications", f"{count} at once", era, [[note("notifications/x"), count], ANSWER], heard=[["-", "notifications/x"]] * count if legacy else [], at_once=True)
        yield row("notifications", "ten thousand at once: the newest hundred are kept", era, [[note("notifications/x"), 10_000], ANSWER], heard=None, at_once=True)


def requests() -> Iterator[Row]:
    """Legacy servers ask; modern ones must not, and are told so. Requests of nobody's are the GET stream's."""
    for id in ("1", "0", '"x"', "$ID", "$OTHER", '"$ID"', "-1", "9" * 30, '"' + "x" * 500 + '"'):
        yield row("requests", f"with the id {id[:20]}", "modern", ask(id) + ANSWER, sent=[[id, INVALID]])
        yield row("requests", f"with the id {id[:20]}", "legacy", ask(id) + ANSWER, heard=[[id, "sampling/createMessage"]])
    for id in ("null", "true", "1.5", "[]", "{}", '"' + "x" * 2000 + '"'):
        yield row("requests", f"with the bad id {id[:20]}", "modern", ask(id) + ANSWER, sent=[["null", INVALID]])
    for method in ("ping", "roots/list", "tools/call", "initialize", "server/discover", ""):
        yield row("requests", f"{method!r}", "modern", ask("1", method) + ANSWER, sent=[["1", INVALID]])
    yield row("requests", "a hundred", "modern", [[ask("1"), 100], ANSWER], sent=[["1", INVALID]] * 100)
    yield row("requests", "twice the same id", "legacy", ask("1") * 2 + ANSWER, heard=[["1", "sampling/createMessage"]] * 2)


def ends() -> Iterator[Row]:
    """The server exits at each byte of its answer, or of what comes before."""
    lines = note("notifications/x") + ANSWER
    for size in range(len(lines) + 1):
        for era in ERAS:
            done = size == len(lines)
            heard = [["-", "notifications/x"]] if era == "legacy" and size >= len(note("notifications/x")) else []
            outcome: dict[str, Any] = {"messages": RESULT, "status": 200} if done else {"messages": [['"a"', EXITED]], "status": 502}
            yield row("exits", f"after {size} bytes", era, lines[:size], exit=True, other=EXITED, heard=heard, **outcome)


def child_lines() -> Iterator[Row]:
    for family in (garbage, ids, sizes, notifications, requests, ends):
        yield from family()
