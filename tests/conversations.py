"""A conversation for tests of what is done with tapes: both eras, JSON and streams, questions of the server, failures. As a recorder writes it, over HTTP.

The exchanges: 1 initialize, 2 tools/list, 3 a slow tool with progress and a question on its stream, 4 a GET stream, 5 a tool that fails, 6 a method that
does not exist, 7 a refusal in HTTP's own words, 8 one that the client gave up, 9 a modern one, 10 without an answer when the tape ends.
"""
from __future__ import annotations

from tapes import happening, notification, raw, request, response

from shadowproxy.tape.frame import Frame, Http, Sse

JSON, EVENTS = ("content-type", "application/json"), ("content-type", "text/event-stream")
POST, GET = Http("POST", None, (("accept", "application/json, text/event-stream"), JSON)), Http("GET", None, (("accept", "text/event-stream"),))
TOOL = {"name": "slow", "description": "</script><script>alert(1)</script>", "inputSchema": {"type": "object"}}


def conversation() -> list[Frame]:
    """All of it."""
    return [*_legacy(), *_failures(), *_modern()]


def _legacy() -> list[Frame]:
    s1 = {"session": "s1"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    server = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "host", "version": "2"}}
    slow = {"name": "slow", "arguments": {"city": "Žilina"}, "_meta": {"progressToken": "p"}}
    return [
        request(1, "initialize", hello, id=1, http=POST, **s1),
        response(2, 1, id=1, result=server, http=Http(None, 200, (JSON,)), **s1),
        happening(3, "about", message=raw({"era": "legacy", "server": server["serverInfo"], "protocolVersion": "2025-11-25"})),
        notification(4, "notifications/initialized", dir="c2s", **s1),
        request(5, "tools/list", id=2, exchange=2, http=POST, **s1),
        response(6, 5, id=2, exchange=2, result={"tools": [TOOL]}, http=Http(None, 200, (JSON,)), **s1),
        request(7, "tools/call", slow, id="three", exchange=3, http=POST, token=raw("p"), **s1),
        happening(8, "open", dir="c2s", exchange=4, stream="g4", http=GET, **s1),
        happening(9, "event", exchange=3, stream="x3", http=Http(None, 200, (EVENTS,)), sse=Sse(id="e0", retry=500), **s1),
        notification(10, "notifications/progress", {"progressToken": "p", "progress": 1}, exchange=3, stream="x3", token=raw("p"), sse=Sse(id="e1"), **s1),
        request(11, "elicitation/create", {"message": "Who?", "requestedSchema": {}}, id=1, dir="s2c", exchange=3, stream="x3", sse=Sse(id="e2"), **s1),
        notification(12, "notifications/tools/list_changed", exchange=4, stream="g4", http=Http(None, 200, (EVENTS,)), **s1),
        response(13, 11, id=1, dir="c2s", exchange=None, result={"action": "accept", "content": {"name": "Ada"}}, **s1),
        response(14, 7, id="three", exchange=3, stream="x3", result={"content": [{"type": "text", "text": "grüß Gott"}]}, sse=Sse(id="e3"), **s1),
        happening(15, "close", exchange=4, stream="g4", **s1),
    ]  # fmt: skip


def _failures() -> list[Frame]:
    s1 = {"session": "s1", "http": POST}
    error = {"code": -32601, "message": "Method not found"}
    refused = Http(None, 401, (("www-authenticate", "Bearer"),))
    return [
        request(16, "tools/call", {"name": "fail", "arguments": {}}, id=5, exchange=5, **s1),
        response(17, 16, id=5, exchange=5, result={"content": [], "isError": True}, session="s1", http=Http(None, 200, (JSON,))),
        request(18, "tools/nope", id=6, exchange=6, **s1),
        response(19, 18, id=6, exchange=6, error=error, session="s1", http=Http(None, 404, (JSON,))),
        request(20, "ping", id=7, exchange=7, **s1),
        happening(21, "refusal", exchange=7, re=20, session="s1", error="upstream_refused", text="who are you?", http=refused),
        request(22, "tools/call", {"name": "slow"}, id=8, exchange=8, **s1),
        happening(23, "cancelled", dir="c2s", exchange=8, re=22, session="s1"),
        happening(24, "gap", lost=3, text="the writer did not keep up"),
        happening(28, "end", dir="c2s", session="s1", http=Http("DELETE")),
    ]


def _modern() -> list[Frame]:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    fields = Http("POST", None, (("mcp-method", "tools/call"), ("mcp-name", "echo")))
    return [
        request(29, "tools/call", {"name": "echo", "arguments": {"text": "hi"}, "_meta": meta}, id=1, exchange=9, http=fields, t=60.0),
        response(30, 29, id=1, exchange=9, result={"resultType": "complete", "content": [{"type": "text", "text": "hi"}]}, http=Http(None, 200, (JSON,)), t=60.25),
        request(31, "tools/call", {"name": "never", "_meta": meta}, id=2, exchange=10, http=fields, t=61.0),
    ]
