"""The other half of `make_http_requests`: versions, methods, targets, hosts, limits, line ends, trailers, requests in a row, and requests that stop short."""
from __future__ import annotations

from collections.abc import Iterator

from hostile.make_http_requests import (
    BODY_LIMIT,
    CHUNKED,
    FIELD_LIMIT,
    FIELDS,
    GOOD,
    HEAD_LIMIT,
    LENGTH,
    LINE,
    PING,
    SMUGGLED,
    body,
    chunk,
    chunked,
    refused,
    request,
    row,
)
from hostile.rows import Row

TWO = request(content=body("pong"))


def start_lines() -> Iterator[Row]:
    for version in ("HTTP/0.9", "HTTP/2.0"):
        yield refused("versions", version, request(line=f"POST /mcp {version}\r\n"), 505)
    for version in ("HTTP/1.2", "HTTP/1.9", "HTTP/3.0", "HTTP/9.9", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/11", "HTTP/1.1.1", "HTTP/01.1", "HTTP/1.01", "HTTP/1.10", "HTTP/ 1.1",
                    "HTTP /1.1", "HTTP1.1", "HTTP-1.1", "http/1.1", "Http/1.1", "HTTPS/1.1", "HTPP/1.1", "HTTP/1,1", "HTTP/1.1 ", "HTTP/1.1\t", "HTTP/1.1x", "HTTP/+1.1",
                    "HTTP/1.-1", "HTTP/one", "HTTP/", "HTTP", "\xffTTP/1.1", "HTTP/1.1\x00", "HTTP/\xb9.1"):  # fmt: skip
        yield refused("versions", version, request(line=f"POST /mcp {version}\r\n"))
    yield refused("versions", "none", request(line="POST /mcp\r\n"), 505)
    yield row("versions", "HTTP/1.0 closes", request(line="POST /mcp HTTP/1.0\r\n"), [200], "closed")
    yield row("versions", "HTTP/1.0 kept alive", request("connection: keep-alive\r\n", line="POST /mcp HTTP/1.0\r\n"), [200])
    yield row("versions", "HTTP/1.0 with nothing else", "POST /mcp HTTP/1.0\r\n\r\n", [415], "closed", [])
    for method in ("post", "Post", "SMUGGLE", "POSTS", "PO ST", "P\x00ST", "POST\x00", "P\xd6ST", "", " POST", "\tPOST", "POST\t", "(POST)", "POST:", "GETPOST", "G", "GE", "POS",
                   "1", "-", "\x7fPOST", "PROPPOST", "%50OST", "P\\OST", "\x16\x03\x01", "\x80\x00\x00\x00", "SSH-2.0-x", "EHLO"):  # fmt: skip
        yield refused("methods", repr(method), request(line=f"{method} /mcp HTTP/1.1\r\n"))
    for method in ("PUT", "PATCH", "TRACE", "HEAD", "PROPFIND", "LINK", "QUERY", "PURGE", "M-SEARCH", "SEARCH"):
        yield row("methods", method, request(line=f"{method} /mcp HTTP/1.1\r\n"), [405], "open", [], to=method)
    yield row("methods", "OPTIONS", request(line="OPTIONS /mcp HTTP/1.1\r\n"), [204], reached=[])
    yield row("methods", "GET without a wish for events", "GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n", [406], reached=[])
    for gap in ("  ", "   ", "\t", "\x0b", "\x00", " \t"):
        for place, line in (("method", f"POST{gap}/mcp HTTP/1.1\r\n"), ("target", f"POST /mcp{gap}HTTP/1.1\r\n")):
            if gap.strip(" "):
                yield refused("gaps", f"{gap!r} after the {place}", request(line=line))
            else:
                yield row("gaps", f"{gap!r} after the {place}", request(line=line), [200])


def targets() -> Iterator[Row]:
    for target in ("/mcp", "/mcp?", "/mcp?a=b", "/mcp?a?b", "/mcp/", "/mcp%2f", "/mc%70", "/%6dcp", "/%6D%63%70", "http://localhost/mcp", "HTTP://localhost/mcp", "http://LOCALHOST/mcp", "http://localhost/mcp?q"):
        yield row("targets", target, request(line=f"POST {target} HTTP/1.1\r\n"), [200])
    for target in ("/", "//", "//mcp", "/mcp//", "/mcp;a", "/mcp#a", "/MCP", "/mcpx", "/mc", "/./mcp", "/../mcp", "/a/../mcp", "/mcp/.", "/mcp/..", "/%2e/mcp", "/mcp%00", "/mcp%20",
                   "/%2fmcp", "/mcp%", "/mcp%zz", "/mcp%e9", "/mcp%c3%a9", "/mcp\\", "/\\mcp", "*", "/*", "/:80/mcp", "/mcp,/mcp", "http://localhost", "http://localhost/",
                   "http://localhost//mcp", "http://localhost?/mcp", "/http://localhost/mcp", "/sse", "/sse/", "/sse/messages/x"):  # fmt: skip
        status = 405 if target == "/sse" else 404
        yield row("targets", target, request(line=f"POST {target} HTTP/1.1\r\n"), [status])
    for target in ("mcp", "?", "localhost/mcp", "localhost:80", ":80/mcp", "ht!tp://localhost/mcp", "http:/mcp", "http:mcp", "http:", "-", "http//localhost/mcp", "\\mcp", "%2fmcp", "|", '"/mcp"'):
        yield refused("targets", f"{target!r} is none", request(line=f"POST {target} HTTP/1.1\r\n"))
    for target in ("http://evil.example/mcp", "http://localhost.evil.example/mcp", "http://localhost:81/mcp", "http://localhost@evil.example/mcp", "http://user@localhost/mcp",
                   "http://user:pass@localhost/mcp", "http:///mcp", "http://127.0.0.1/mcp", "https://evil.example/mcp", "file:///mcp", "ws://evil.example/mcp"):  # fmt: skip
        yield refused("targets", f"{target} is another host than the Host field", request(line=f"POST {target} HTTP/1.1\r\n"))
    for target in ("localhost:443", "evil.example:443", "127.0.0.1:22", "[::1]:80"):
        yield refused("targets", f"CONNECT {target}", f"CONNECT {target} HTTP/1.1\r\nhost: localhost\r\n\r\n", 501)
    for target in ("/mcp", "http://localhost/mcp", "*", "localhost", ""):
        yield refused("targets", f"CONNECT {target!r} is none", f"CONNECT {target} HTTP/1.1\r\nhost: localhost\r\n\r\n", 501 if target else 505)


GOOD_HOSTS = ("localhost", "LOCALHOST", "LocalHost", "localhost:80", "localhost:8080", "localhost:65535", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:80", "localhost:")
BAD_HOSTS = ("", "evil.example", "localhost.evil.example", "evil.localhost", "localhost.", "localhost..", "127.0.0.2", "127.0.0.1.nip.io", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1",
             "0.0.0.0", "[::]", "::1", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "[::1", "::1]", "[::1]x", "[::1]]", "[[::1]]", "[localhost]", "[::1%lo]", "localhost:x", "localhost:65536", "localhost:-1", "localhost:+1", "localhost:80:80", "localhost:80/",
             "localhost/", "localhost/mcp", "localhost?", "localhost#", "localhost,evil.example", "localhost evil.example", "localhost\tevil.example", "evil.example@localhost",
             "localhost@evil.example", "user@localhost", "http://localhost", "//localhost", "localhost\\evil.example", "loc%61lhost", "localhost%00", "localhost;", '"localhost"',
             "*", ".", ":80", ":", "l\xf6calhost", "localhost\xa0", "_", "-", "local_host", "169.254.169.254", "metadata.google.internal")  # fmt: skip


def hosts() -> Iterator[Row]:
    rest = FIELDS.partition("\r\n")[2]
    for host in GOOD_HOSTS:
        yield row("hosts", repr(host), request(fixed=f"host: {host}\r\n{rest}"), [200])
    for host in BAD_HOSTS:
        yield row("hosts", repr(host), request(fixed=f"host: {host}\r\n{rest}"), [403])
    for fields in ("host: localhost\r\nhost: localhost\r\n", "host: localhost\r\nhost: evil.example\r\n", "host: evil.example\r\nhost: localhost\r\n", "host: localhost\r\nHost:\r\n", "",
                   "x-host: localhost\r\n", "hosts: localhost\r\n"):  # fmt: skip
        yield refused("hosts", f"{fields!r} is not one", request(fixed=fields + rest))
    for fields in ("host : localhost\r\n", "host\t: localhost\r\n", " host: localhost\r\n", "host: localhost\r\n x\r\n", "host: localhost\r\n\tevil.example\r\n", "host\r\n", "ho st: localhost\r\n",
                   "host:localhost\r\n : x\r\n", "\x00host: localhost\r\n", "host: localhost\x00\r\n", "host: localhost\x00evil.example\r\n", "host: localhost\r\r\n", "host: localhost\n"):  # fmt: skip
        yield refused("hosts", f"{fields!r} is no field", request(fixed=fields + rest))
    for value in ("host:localhost", "host:  localhost", "host:\tlocalhost", "host: localhost ", "host: localhost\t", "HOST: localhost", "Host: localhost"):
        yield row("hosts", f"spelled {value!r}", request(fixed=f"{value}\r\n{rest}"), [200])


def sizes() -> Iterator[Row]:
    """At a limit and one past it. A request has three fields of its own."""
    for count in (FIELD_LIMIT - 1, FIELD_LIMIT):
        yield row("limits", f"{count} fields", request("a: b\r\n" * (count - 3)), [200])
    for count in (FIELD_LIMIT + 1, FIELD_LIMIT + 2, 10 * FIELD_LIMIT):
        yield refused("limits", f"{count} fields", request("a: b\r\n" * (count - 3)), 431)
    own = len(FIELDS) + len(LENGTH) + len("/mcp") + len("a: \r\n") - 1
    for size in (HEAD_LIMIT - 1, HEAD_LIMIT):
        yield row("limits", f"a head of {size}", request(f"a: {'x' * (size - own - 1)}\r\n"), [200])
    for size in (HEAD_LIMIT + 1, HEAD_LIMIT + 100, 4 * HEAD_LIMIT, 64 * HEAD_LIMIT):
        yield refused("limits", f"a head of {size}", [LINE + FIELDS + LENGTH + "a: ", ["x", size - own - 1], "\r\n\r\n" + PING], 431)
    for size in (HEAD_LIMIT, 4 * HEAD_LIMIT, 64 * HEAD_LIMIT):
        yield refused("limits", f"a target of {size}", ["POST /mcp?", ["x", size], f" HTTP/1.1\r\n{FIELDS}{LENGTH}\r\n{PING}"], 431)
        yield refused("limits", f"a field's name of {size}", [LINE + FIELDS, ["x", size], ": y\r\n\r\n"], 431)
        yield refused("limits", f"fields of {size}", [LINE + FIELDS, ["y: " + "x" * 300 + "\r\n", size // 300 + 1], "\r\n"], 431)
    endless: dict[str, tuple[str, str]] = {
        "a target": ("POST /mcp?", "x"),
        "a field's value": (LINE + FIELDS + "a: ", "x"),
        "a field's name": (LINE + FIELDS, "x"),
        "a chunk extension": (chunked("1;"), "x"),
        "a trailer": (chunked(chunk(PING) + "0\r\na: "), "x"),
        "blanks before a value": (LINE + FIELDS + "a:", " "),
        "empty lines": ("", "\r\n"),
    }
    for size in (16 * HEAD_LIMIT, 64 * HEAD_LIMIT):  # beyond what is read at once
        for name, (start, unit) in endless.items():
            yield row("limits", f"{name} of {size} without end", [start, [unit, size // len(unit)]], [431], "closed", [])
    padded = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"%s"}}'
    for size in (BODY_LIMIT - 1, BODY_LIMIT):
        content = padded % ("y" * (size - len(padded) + 2))
        yield row("limits", f"a body of {size}", request(length=f"content-length: {size}\r\n", content=content), [200])
        yield row("limits", f"chunks of {size}", chunked(chunk(content[:100]) + chunk(content[100:]) + "0\r\n\r\n"), [200])
    for size in (BODY_LIMIT + 1, 2**31, 2**32, 2**53, 2**63 - 1):
        yield refused("limits", f"a body said to be of {size}", request(length=f"content-length: {size}\r\n"), 413)
    for size in (BODY_LIMIT + 1, 10 * BODY_LIMIT):
        yield refused("limits", f"one chunk of {size}", [chunked(f"{size:x}\r\n"), ["x", size], "\r\n0\r\n\r\n"], 413)
        yield refused("limits", f"chunks of one byte up to {size}", [chunked(""), ["1\r\nx\r\n", size], "0\r\n\r\n"], 413)


def line_ends() -> Iterator[Row]:
    """Each line end of a good request in turn as something else."""
    parts = chunked(chunk(PING, extension=";a=b") + "0\r\nx: y\r\n\r\n").split("\r\n")
    for end in ("\n", "\r", "\n\r", "\r\r\n", "\x0b", "\x0c", "\x00", "\r \n"):
        for place in range(len(parts) - 1):
            send = "\r\n".join(parts[: place + 1]) + end + "\r\n".join(parts[place + 1 :])
            waits = end == "\r" and place == len(parts) - 2  # the end of the trailers is still to come
            if not waits:
                yield refused("line ends", f"{end!r} for line end {place}", send)
    yield row("line ends", "CRLFs first", "\r\n\r\n" + GOOD, [200])
    for name, fold in (("a blank", "\r\n x"), ("a tab", "\r\n\tx"), ("a blank line", "\r\n \r\n"), ("many", "\r\n a\r\n b")):
        for field in ("x: y", "content-length: 2", "transfer-encoding: chunked", "content-type: application/json"):
            yield refused("line ends", f"{field} folded by {name}", f"{LINE}host: localhost\r\n{field}{fold}\r\n\r\n")


def chunks() -> Iterator[Row]:
    size = f"{len(PING):x}"
    for good in (size, "0" + size, "0" * 12 + size):
        yield row("chunks", f"of size {good!r}", chunked(chunk(PING, good) + "0\r\n\r\n"), [200])
    for bad in ("", " ", "-1", "+1", "0x1", "1.", "g", " 28", "28 ", "2 8", "\t28", "28\t", "fffffffffffffffff", "10000000000000000", "-", "NaN", "\xb2", "1h", "28\x00", "28,", "_28"):
        yield refused("chunks", f"of size {bad!r}", chunked(chunk(PING, bad) + "0\r\n\r\n"))
    yield row("chunks", "of the largest size there is", chunked("ffffffffffffffff\r\n" + PING), [], "waits", [], late=[408])
    for last in ("0", "00", "0" * 16):
        yield row("chunks", f"ended by {last}", chunked(chunk(PING) + f"{last}\r\n\r\n"), [200])
    yield row("chunks", "of a size in capitals", chunked(chunk(PING + " " * 3, "2B") + "0\r\n\r\n"), [200])
    yield row("chunks", "of a byte each", chunked("".join(chunk(letter) for letter in PING) + "0\r\n\r\n"), [200])
    for extension in (";=", ";=b", ";a="):  # of no meaning, and of no danger
        yield row("chunks", f"with half an extension {extension!r}", chunked(chunk(PING, extension=extension) + "0\r\n\r\n"), [200])
    for extension in (";a", ";a=b", ";a=b;c=d", ';a="b c"', ';a="b\\"c"', ";" + "a" * 1000, ";a" * 100):
        yield row("chunks", f"with extension {extension[:20]!r}", chunked(chunk(PING, extension=extension) + f"0{extension}\r\n\r\n"), [200])
    for extension in (";", ";;", " ;a", "; a", ";a =b", ";a= b", ";a b", ';a="b', ";a=b c", ";a;", ";a\n", ";a\r", ";a\x00", ";a=\x00", ';a="\r\n"', ";\xff"):
        yield refused("chunks", f"with bad extension {extension!r}", chunked(chunk(PING, extension=extension) + "0\r\n\r\n"))
    for wrong in (PING + "x", PING + "\r", PING + "\n", PING[:-1], PING[:-2]):
        yield refused("chunks", f"{len(wrong) - len(PING):+} bytes than said, at the end {wrong[-2:]!r}", chunked(f"{size}\r\n{wrong}\r\n0\r\n\r\n"))
    for trailer in ("x: y\r\n", "x: y\r\nz: a\r\n", "host: evil.example\r\n", "expect: 100-continue\r\n", "mcp-session-id: a\r\n", "authorization: Bearer a\r\n", "x:\r\n"):
        yield row("trailers", repr(trailer), chunked(chunk(PING) + f"0\r\n{trailer}\r\n"), [200])
    for trailer in ("content-length: 5\r\n", "content-length: x\r\n", "transfer-encoding: chunked\r\n", "transfer-encoding: x\r\n", "x y: z\r\n", ": z\r\n", "x\r\n", " x: y\r\n", "x: y\r\n z\r\n",
                    "x: \x00\r\n", "x: y\n", "POST /mcp HTTP/1.1\r\n"):  # fmt: skip
        yield refused("trailers", f"{trailer!r} is none", chunked(chunk(PING) + f"0\r\n{trailer}\r\n"))
    yield refused("trailers", "too many", chunked(chunk(PING) + "0\r\n" + "a: b\r\n" * (FIELD_LIMIT + 1) + "\r\n"), 431)
    yield refused("trailers", "connection: close is heard", chunked(chunk(PING) + "0\r\ncontent-length : 3\r\n\r\n"))


def wishes() -> Iterator[Row]:
    """Expect, Connection, Upgrade."""
    for expect in ("100-continue", "100-Continue", "100-CONTINUE"):
        yield row("expect", f"{expect} with its body", request(f"expect: {expect}\r\n"), [200], at_once=True)
        yield row("expect", f"{expect} that waits", [request(f"expect: {expect}\r\n", content=""), None, PING], [100, 200], at_once=True)
        yield row("expect", f"{expect} of HTTP/1.0", [request(f"expect: {expect}\r\n", "POST /mcp HTTP/1.0\r\n", ""), None, PING], [200], "closed")
        yield row("expect", f"{expect} of too much", [request(f"expect: {expect}\r\n", length=f"content-length: {BODY_LIMIT + 1}\r\n", content="")], [413], "closed", [])
        yield row("expect", f"{expect} at another place", request(f"expect: {expect}\r\n", "POST /x HTTP/1.1\r\n", ""), [404], "closed", [])
        yield row("expect", f"{expect} without a body", f"OPTIONS /mcp HTTP/1.1\r\nhost: localhost\r\nexpect: {expect}\r\n\r\n", [204], reached=[])
        yield row("expect", f"{expect} in chunks", [chunked("", f"expect: {expect}\r\n"), None, chunk(PING) + "0\r\n\r\n"], [100, 200], at_once=True)
    for expect in ("", "100", "continue", "200-ok", "100-continue, x", "x=y"):
        yield row("expect", f"{expect!r} is nothing", request(f"expect: {expect}\r\n"), [200])
    for value in ("close", "Close", "CLOSE", "x, close", "close, x", "keep-alive, close", "close, keep-alive"):
        yield row("connection", value, [request(f"connection: {value}\r\n"), SMUGGLED], [200], "closed")
    for value in ("keep-alive", "Keep-Alive", "x", "", "x-a, x-b", "host", "content-length", "transfer-encoding", "te"):
        yield row("connection", f"{value!r} stays", request(f"connection: {value}\r\n"), [200])
    for upgrade in ("websocket", "h2c", "HTTP/2.0", "TLS/1.0", "x", "websocket, h2c"):
        offer = f"connection: keep-alive, Upgrade\r\nupgrade: {upgrade}\r\n"
        yield row("upgrade", f"an offer of {upgrade} is ignored", request(offer) * 2 + GOOD, [200] * 3)
        yield row("upgrade", f"an offer of {upgrade} in chunks", chunked(chunk(PING) + "0\r\n\r\n", offer) * 2 + GOOD, [200] * 3)
        yield row("upgrade", f"an offer of {upgrade} and the end", [request(f"connection: close, upgrade\r\nupgrade: {upgrade}\r\n"), SMUGGLED], [200], "closed")
        yield refused("upgrade", f"an offer of {upgrade} before garbage", request(offer, content="", length="transfer-encoding: chunked\r\n") + "x\r\n")
        yield row("upgrade", f"to {upgrade}, not meant", request(f"upgrade: {upgrade}\r\n"), [200])
    yield row("upgrade", "to nothing", request("connection: upgrade\r\n"), [200])


def rows_of_requests() -> Iterator[Row]:
    """Several requests at once: those before a bad one are answered, those after it never."""
    for count in (2, 3, 10, 40):
        yield row("in a row", f"{count} good ones", GOOD * count, [200] * count)
    yield row("in a row", "of two kinds", GOOD + chunked(chunk(PING) + "0\r\n\r\n") + GOOD, [200] * 3)
    yield row("in a row", "with empty lines between", GOOD + "\r\n\r\n" + GOOD, [200] * 2)
    yield row("in a row", "refused by the application alone", request(line="POST /x HTTP/1.1\r\n") + GOOD, [404, 200], slowly={"answers": [404], "then": "closed", "reached": []})
    for name, bad, status in (("bad length", f"{LINE}{FIELDS}content-length: x\r\n\r\n", 400), ("no Host", "GET /mcp HTTP/1.1\r\n\r\n", 400), ("CONNECT", "CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n", 501),
                              ("too many fields", LINE + FIELDS + "a: b\r\n" * 99 + "\r\n", 431), ("too large a body", f"{LINE}{FIELDS}content-length: 99999\r\n\r\n", 413), ("garbage", "\x00\x01\x02\x03\r\n\r\n", 400),
                              ("HTTP/0.9", "GET /\r\n\r\n", 505), ("a coding", f"{LINE}{FIELDS}transfer-encoding: gzip, chunked\r\n\r\n", 501)):  # fmt: skip
        for before in (1, 2, 5):
            send = GOOD * before + bad + SMUGGLED
            yield row("in a row", f"{name} after {before}", send, [200] * before + [status], "closed")
    inner = GOOD.replace("ping", "pong")
    yield row("in a row", "a request in a body", request(length=f"content-length: {len(inner)}\r\n", content=inner), [400], reached=[])
    yield row("in a row", "a request in a chunk", chunked(chunk(inner) + "0\r\n\r\n"), [400], reached=[])
    yield row("in a row", "the body of a GET is no request", request(line="GET /mcp HTTP/1.1\r\n", fixed=FIELDS + "accept: text/plain\r\n", length=f"content-length: {len(inner)}\r\n", content=inner), [406], reached=[])


def short_of() -> Iterator[Row]:
    """Requests that stop at each byte: by silence, and by an end."""
    for name, send, first in (("length", GOOD, len(GOOD)), ("chunks", chunked(chunk(PING) + "0\r\n\r\n"), 10_000)):
        for size in range(1, len(send)):
            if name == "chunks" and size < len(LINE + FIELDS + CHUNKED):
                continue  # the same as with a length
            yield row("silence", f"after {size} bytes, {name}", send[:size], [], "waits", [], late=[408])
            yield row("end", f"after {size} bytes, {name}", send[:size], [], "closed", [], end=True)
        assert first >= len(PING)
    yield row("silence", "from the start", "", [], "waits", [], late=[])
    yield row("end", "from the start", "", [], "closed", [], end=True)
    yield row("end", "after a whole request", GOOD, [200], "closed", end=True)
    yield row("end", "after two", GOOD + GOOD, [200, 200], "closed", end=True)
    yield row("silence", "within the second", GOOD + GOOD[:-1], [200], "waits", late=[408])
    yield row("silence", "within the head of the second", GOOD + GOOD[:20], [200], "waits", late=[408])


def more_http_requests() -> Iterator[Row]:
    for family in (start_lines, targets, hosts, sizes, line_ends, chunks, wishes, rows_of_requests, short_of):
        yield from family()


__all__ = ["more_http_requests"]
