"""A small MCP client on blocking sockets: enough to open sessions, to ask once, and to leave streams open.

In: a port on loopback. Out: what the server answered. Raises `BenchError` when that is not what a working proxy answers.
"""
from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from scenarios.load.plan import BenchError
from scenarios.load.processes import Process

HOST = "127.0.0.1"
VERSION = "2025-06-18"
MODERN = "2026-07-28"
FIELDS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
START = 30.0
"""Seconds that a proxy gets to answer for the first time."""
INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize",
              "params": {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}}  # fmt: skip
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def call(id: int, argument: int = 60) -> dict[str, Any]:
    """A request like those of the loads."""
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "y" * argument}}}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def await_port(port: int, process: Process) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and not process.ended:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.01)
    raise BenchError(f"nothing listens: {process.words()}")


class Client:
    """One connection with keep-alive, and one session on it."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self._http = http.client.HTTPConnection(HOST, port, timeout=timeout)
        self.session: str | None = None

    def close(self) -> None:
        self._http.close()

    def post(self, message: Mapping[str, object]) -> tuple[int, str]:
        """Status and body."""
        fields = dict(FIELDS)
        if self.session:
            fields |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": VERSION}
        self._http.request("POST", "/mcp", json.dumps(message), fields)
        response = self._http.getresponse()
        body = response.read().decode()
        self.session = response.headers.get("mcp-session-id") or self.session
        return response.status, body

    def initialize(self) -> str:
        """Open a session; its id, empty if the server has none."""
        self.session = None
        status, body = self.post(INITIALIZE)
        if status != 200 or "serverInfo" not in body:
            raise BenchError(f"initialize was answered with {status} {body[:200]}")
        session = self.session
        self.post(INITIALIZED)
        return session or ""


def open_sessions(port: int, count: int, process: Process | None) -> list[str]:
    """`count` sessions; the first is asked for until there is one."""
    deadline = time.monotonic() + START
    reason: Exception | None = None
    while time.monotonic() < deadline and not (process and process.ended):
        client = Client(port)
        try:
            return [client.initialize() for _ in range(count)]
        except (OSError, http.client.HTTPException, BenchError) as error:
            reason = error
            time.sleep(0.05)
        finally:
            client.close()
    raise BenchError(f"no session: {reason!r}; {process.words() if process else ''}")


def check(port: int, session: str, bytes: int, id: int) -> None:
    """One request must be answered as the loads assume: its id, and a result of that size."""
    client = Client(port)
    client.session = session or None
    try:
        status, body = client.post(call(id))
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"no answer to a single request: {error!r}") from None
    finally:
        client.close()
    if status != 200 or not re.search(rf'"id": ?{id}\b', body) or "x" * bytes not in body:
        raise BenchError(f"a single request was answered with {status} {body[:200]}")


# ---------------------------------------------------- streams that stay open
def get(session: str) -> bytes:
    """The head of a GET that opens a session's standing stream."""
    return _head("GET", {"Accept": "text/event-stream", "Mcp-Session-Id": session, "MCP-Protocol-Version": VERSION})


def listen(id: int) -> bytes:
    """A whole subscriptions/listen of the modern era."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": {"_meta": meta, "notifications": {"toolsListChanged": True}}}
    body = json.dumps(message).encode()
    return _head("POST", {**FIELDS, "MCP-Protocol-Version": MODERN, "Mcp-Method": "subscriptions/listen", "Content-Length": str(len(body))}) + body


def _head(method: str, fields: Mapping[str, str]) -> bytes:
    lines = [f"{method} /mcp HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def open_stream(port: int, request: bytes, until: bytes) -> socket.socket:
    """A connection on which `request` was sent and `until` has come back, left open."""
    sock = socket.create_connection((HOST, port), 10)
    try:
        sock.sendall(request)
        seen = b""
        while until not in seen:
            data = sock.recv(4096)
            seen += data
            if not data or (b"\r\n" in seen and not seen.startswith(b"HTTP/1.1 200")):
                raise BenchError(f"no stream: {seen[:200].decode('latin-1')!r}")
    except BaseException:
        sock.close()
        raise
    return sock
