"""A puppet: an MCP server that does as it is told, well or badly, in both eras. Nothing but the standard library, so it starts in no time.

    python puppet.py --stdio [--deaf] [--family]     one client on standard input and output
    python puppet.py --http PORT                     http://127.0.0.1:PORT/mcp, announced on standard output; 0 takes a free port

`--deaf` ignores the end of its input and SIGTERM; `--family` has a grandchild that does so too and holds the pipes.
Each call runs in a thread of its own. What its tools do is in `TOOLS`.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]
MODERN = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
SERVER = {"name": "puppet", "version": "1"}


class Call:
    """A request under way: `say` sends a message towards its client, `over` is set when nobody waits any more, `gone` looks for that."""

    def __init__(self, message: Json, say: Callable[[Json], None], gone: Callable[[], bool]) -> None:
        self.id, self.method, self.params = message["id"], message["method"], message.get("params", {})
        self.arguments: Json = self.params.get("arguments", {})
        self.label = str(self.arguments.get("label", self.method))
        self.modern = MODERN in self.params.get("_meta", {})
        self.say, self._gone, self.over = say, gone, threading.Event()

    def progress(self, step: int, words: str = "") -> None:
        token = self.params.get("_meta", {}).get("progressToken")
        if token is not None:
            self.say({"method": "notifications/progress", "params": {"progressToken": token, "progress": step, "message": words}})

    def wait(self) -> None:
        while not self.over.wait(0.02):
            if self._gone():
                return


def echo(call: Call) -> str:
    """Its text, after `delay` seconds."""
    time.sleep(call.arguments.get("delay", 0))
    return str(call.arguments.get("text", ""))


def count(call: Call) -> str:
    """Progress at every one of `steps`, `pause` seconds apart, with its `label` in every message."""
    steps, label = call.arguments.get("steps", 3), call.arguments.get("label", "it")
    for step in range(1, steps + 1):
        call.progress(step, f"{label}: step {step}")
        time.sleep(call.arguments.get("pause", 0))
    return f"{label} counted to {steps}"


def hang(call: Call) -> None:
    """No answer, ever. It begins with a progress notification, so that its client knows that it hangs."""
    call.progress(0, "hanging")
    call.wait()


def endless(call: Call) -> None:
    """Progress for ever, 64 KiB each, as fast as the client takes it."""
    step = 0
    while not call.over.is_set():
        step += 1
        call.progress(step, "x" * 65536)


def huge(call: Call) -> str:
    """`size` characters at once."""
    return "x" * int(call.arguments["size"])


def pid(_: Call) -> str:
    """Which process this is."""
    return str(os.getpid())


def cancelled(_: Call) -> str:
    """The labels of the calls whose clients have left or cancelled them."""
    return json.dumps(LEFT)


def running(_: Call) -> str:
    """The labels of the calls under way."""
    return json.dumps([call.label for call in list(OPEN.values())])


def sessions(_: Call) -> str:
    """The ids of the sessions that are open."""
    return json.dumps(sorted(SESSIONS))


TOOLS: dict[str, Callable[[Call], str | None]] = {
    tool.__name__: tool for tool in (echo, count, hang, endless, huge, pid, cancelled, running, sessions)
}
STREAMING = {"count", "hang", "endless"}
LEFT: list[str] = []
OPEN: dict[tuple[str, str], Call] = {}
SESSIONS: set[str] = set()


def answer(call: Call) -> Json | None:
    """The result of a request; None if there is none to come."""
    match call.method:
        case "initialize":
            capabilities = {"tools": {"listChanged": True}}
            return {"protocolVersion": call.params.get("protocolVersion", "2025-11-25"), "capabilities": capabilities, "serverInfo": SERVER}
        case "server/discover":
            return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"}
        case "tools/list":
            tools = [{"name": name, "description": tool.__doc__, "inputSchema": {"type": "object"}} for name, tool in TOOLS.items()]
            return {"tools": tools, "ttlMs": 0, "cacheScope": "public"}
        case "subscriptions/listen":
            meta = {SUBSCRIPTION: call.id}
            call.say({"method": "notifications/subscriptions/acknowledged", "params": {"notifications": {}, "_meta": meta}})
            call.wait()
            return None
        case "tools/call" if call.params.get("name") in TOOLS:
            words = TOOLS[call.params["name"]](call)
            return None if words is None else {"content": [{"type": "text", "text": words}]}
        case "ping":
            return {}
    raise LookupError(call.method)


def perform(call: Call, session: str) -> Json | None:
    """The whole response to a request, or None when its client is gone or has cancelled it."""
    key = session, json.dumps(call.id)
    OPEN[key] = call
    try:
        result = answer(call)
    except LookupError as error:
        return {"id": call.id, "error": {"code": -32601, "message": f"Method not found: {error}"}}
    except OSError:
        result = None  # nobody reads
    finally:
        OPEN.pop(key, None)
    if result is None:
        LEFT.append(call.label)
        return None
    if call.modern:
        result = {**result, "resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": SERVER}}
    return {"id": call.id, "result": result}


def take_notification(message: Json, session: str) -> None:
    if message.get("method") == "notifications/cancelled":
        call = OPEN.get((session, json.dumps(message["params"]["requestId"])))
        if call is not None:
            call.over.set()


def line_of(message: Json) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


# --- stdio

def serve_stdio(deaf: bool) -> None:
    writing = threading.Lock()

    def say(message: Json) -> None:
        with writing:
            sys.stdout.buffer.write(line_of(message) + b"\n")
            sys.stdout.buffer.flush()

    def run(message: Json) -> None:
        response = perform(Call(message, say, lambda: False), "")
        if response is not None:
            say(response)

    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "method" in message and "id" in message:
            threading.Thread(target=run, args=(message,), daemon=True).start()
        else:
            take_notification(message, "")
    while deaf:
        time.sleep(3600)
    os._exit(0)  # whoever still hangs


# --- HTTP

def serve_http(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_connection, args=(connection,), daemon=True).start()


def serve_connection(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as reader:
        try:
            for method, fields, body in requests(reader):
                Answer(connection).serve(method, fields, body)
        except OSError:
            pass  # the client left


def requests(reader: Any) -> Iterator[tuple[str, dict[str, str], bytes]]:
    while line := reader.readline():
        fields = {}
        while field := reader.readline().strip():
            name, _, value = field.decode().partition(":")
            fields[name.lower()] = value.strip()
        yield line.split()[0].decode(), fields, reader.read(int(fields.get("content-length", 0)))


class Answer:
    """The answer to one HTTP request: JSON, or events from the first message that comes before the response."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._streaming, self._session = connection, False, ""

    def serve(self, method: str, fields: dict[str, str], body: bytes) -> None:
        self._session = fields.get("mcp-session-id", "")
        message = json.loads(body or b"{}")
        if self._session and self._session not in SESSIONS:
            return self._whole("404 Not Found", b"no such session")
        if method == "DELETE":
            SESSIONS.discard(self._session)
            return self._whole("200 OK", b"")
        if method == "GET":
            self._say({"method": "notifications/tools/list_changed"})
            while not self._gone():
                time.sleep(0.02)
            raise ConnectionError
        if "method" not in message or "id" not in message:
            take_notification(message, self._session)
            return self._whole("202 Accepted", b"")
        self._request(message)

    def _request(self, message: Json) -> None:
        if message["method"] == "initialize":
            self._session = uuid.uuid4().hex
            SESSIONS.add(self._session)
        if message.get("params", {}).get("name") in STREAMING:
            self._begin()
        response = perform(Call(message, self._say, self._gone), self._session)
        if response is None:
            raise ConnectionError  # closing is all that is left to say
        if self._streaming:
            self._say(response)
            self._connection.sendall(b"0\r\n\r\n")
        else:
            self._whole("200 OK", line_of(response), "content-type: application/json\r\n")

    def _head(self) -> str:
        return f"mcp-session-id: {self._session}\r\n" if self._session else ""

    def _whole(self, status: str, body: bytes, fields: str = "") -> None:
        self._connection.sendall(f"HTTP/1.1 {status}\r\n{fields}{self._head()}content-length: {len(body)}\r\n\r\n".encode() + body)

    def _begin(self) -> None:
        if not self._streaming:
            self._streaming = True
            fields = "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            self._connection.sendall(f"HTTP/1.1 200 OK\r\n{fields}{self._head()}\r\n".encode())

    def _say(self, message: Json) -> None:
        self._begin()
        event = b"data: " + line_of(message) + b"\n\n"
        self._connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))

    def _gone(self) -> bool:
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stdio", action="store_true")
    parser.add_argument("--http", type=int)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--family", action="store_true")
    options = parser.parse_args()
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.family and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(3600)
    if options.stdio:
        serve_stdio(options.deaf)
    else:
        serve_http(options.http)


if __name__ == "__main__":
    main()
